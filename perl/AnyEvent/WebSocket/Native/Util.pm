package AnyEvent::WebSocket::Native::Util;

# Checks arguments, and reports mistakes.

use strict;
use warnings;
use Carp ();
use overload ();
use Scalar::Util ();

# Carp skips these packages when it looks for the caller, and they skip this one.
our @CARP_NOT = map { "AnyEvent::WebSocket::$_" } (
    qw( Blocking Client Connection Message Deflate Deflate::Client Native Server ),
    qw( Reconnecting Reconnecting::Lifecycle Reconnecting::Options ),
    map { "Native::$_" } qw(
        Attach Awaited Awaiting Backpressure BlockingOpening Broadcast ClientOptions Closing Compression Events Formats
        Handshake::Compression
        Handshake::Deadline Handshake::Origins
        Inspection Json Keepalive Loader Options Payload ServerOptions Streaming
    ),
);

# Returns the value as a string. References are mistakes, except for objects that are meant to be used as strings.
sub text_of {
    my ($value, $what) = @_;
    return '' unless defined $value;
    Carp::croak("$what must be a string, not " . _kind_of($value)) if is_bare_reference($value);
    return "$value";
}

# Returns true if the value would become a string such as HASH(0x55d0c8a0).
sub is_bare_reference {
    my ($value) = @_;
    return ref $value && !(Scalar::Util::blessed $value && overload::Overloaded($value));
}

sub _kind_of {
    my ($value) = @_;
    my $class = Scalar::Util::blessed $value;
    return defined $class ? "an object of $class" : 'a reference to ' . (ref $value eq 'CODE' ? 'a sub' : lc ref $value);
}

# Returns true if an object may be called like a sub.
sub is_callable {
    my ($value) = @_;
    return ref $value
        && (Scalar::Util::reftype($value) eq 'CODE' || Scalar::Util::blessed $value && overload::Method($value, '&{}'));
}

# Returns 1 if an environment variable switches something on, and 0 if not. Warns of a value such as "no", which switches it
# on.
sub switched_on {
    my ($name) = @_;
    my $value = $ENV{$name} or return 0;
    Carp::carp("$name is '$value', which switches it on; to switch it off, set it to 0 or unset it")
        if $value =~ /\A(?:no|off|false|none|never|disabled?)\z/i;
    return 1;
}

# Returns a number for the thread that runs.
sub thread_id { return $INC{'threads.pm'} ? threads->tid : 0 }

# Calls all the subs, even if one dies, and then dies with the first exception.
sub call_all { return call_each(\@_) }

# The same for a list of subs that get the same arguments.
sub call_each {
    my ($subs, @arguments) = @_;
    my @errors;
    {
        local $@;
        for my $sub (@$subs) {
            eval { $sub->(@arguments); 1 } or push @errors, $@;
        }
    }
    rethrow($errors[0]) if @errors;
    return;
}

# Dies with an exception that was caught. The program's handler has seen it already.
sub rethrow {
    my ($error) = @_;
    local $SIG{__DIE__};
    die $error;
}

# Croaks if options are left after `method` has removed those that it knows.
sub no_more_options {
    my ($method, $left, @known) = @_;
    my ($unknown) = sort keys %$left or return;
    Carp::croak("$method: there is no option $unknown; the options are " . list_of(@known));
}

# Returns a list such as 'a, b and c'.
sub list_of {
    my (@words) = sort @_;
    my $last = pop @words;
    return @words ? join(', ', @words) . " and $last" : $last;
}

# Returns the known name of which this one is probably a misspelling; nothing if there is none.
sub nearest {
    my ($name, @known) = @_;
    my ($best) = sort { $a->[0] <=> $b->[0] || $a->[1] cmp $b->[1] } map { [_distance($name, $_), $_] } @known;
    return $best && $best->[0] <= (length $best->[1] > 5 ? 2 : 1) ? $best->[1] : ();
}

# Returns the number of characters that must be inserted, deleted, changed, or swapped with the next to turn one word into the
# other.
sub _distance {
    my ($from, $to) = map { [split //] } @_;
    my @rows = [0 .. @$to];
    for my $i (1 .. @$from) {
        $rows[$i] = [$i];
        for my $j (1 .. @$to) {
            my $is_same = $from->[$i - 1] eq $to->[$j - 1];
            my @ways = ($rows[$i - 1][$j] + 1, $rows[$i][$j - 1] + 1, $rows[$i - 1][$j - 1] + !$is_same);
            push @ways, $rows[$i - 2][$j - 2] + 1
                if $i > 1 && $j > 1 && $from->[$i - 1] eq $to->[$j - 2] && $from->[$i - 2] eq $to->[$j - 1];
            $rows[$i][$j] = (sort { $a <=> $b } @ways)[0];
        }
    }
    return $rows[-1][-1];
}

# The names that arguments have in another of our classes or in other libraries, and what was probably meant by them.
my %OTHER_NAMES = (
    ca_file => ['ssl_ca_file'],
    cert_file => ['ssl_cert_file'],
    compress => ['deflate'],
    compression => ['deflate'],
    connect_timeout => ['timeout'],
    headers => ['http_headers'],
    http_headers => ['headers'],
    key_file => ['ssl_key_file'],
    max_message => ['max_message_size'],
    max_payload => ['max_payload_size'],
    perMessageDeflate => ['deflate'],
    protocol => [qw( subprotocol subprotocols )],
    protocols => [qw( subprotocol subprotocols )],
    proxy => ['env_proxy'],
    ssl_ca_file => ['ssl_cert_file'],
    ssl_cert => ['ssl_cert_file'],
    ssl_key => ['ssl_key_file'],
    SSL_verify_mode => ['ssl_no_verify'],
    timeout => ['handshake_timeout'],
    tls_ctx => ['ssl_cert_file'],
    verify => ['ssl_no_verify'],
);

# Returns the known name that was probably meant by another; nothing if there is none.
sub meant {
    my ($name, @known) = @_;
    my %is_known = map { $_ => 1 } @known;
    my ($other) = grep { $is_known{$_} } @{ $OTHER_NAMES{$name} || [] };
    return defined $other ? $other : nearest(lc $name, @known);
}

# Warns, once for each name and place, of arguments of a constructor that probably should have another name. The original
# ignores arguments that it does not know.
my %has_warned;

sub warn_of_slips {
    my ($class, $arguments, @known) = @_;
    my %is_known = map { $_ => 1 } @known;
    for my $name (sort grep { !$is_known{$_} && !$class->can($_) } keys %$arguments) {
        my $meant = meant($name, @known) or next;
        my $text = Carp::shortmess("$class has no attribute $name, which is ignored; did you mean $meant?");
        warn $text if !$has_warned{$text}++;
    }
}

1;
