package ApiFuzz::Steps::Replace;

# Replaces methods in the classes themselves for a while, as Test::MockModule does.

use strict;
use warnings;
use AnyEvent::Handle;
use AnyEvent::WebSocket::Connection;
use ApiFuzz::Arguments;
use ApiFuzz::Step;
use Scalar::Util qw(weaken);

sub full {
    my ($method) = @_;
    return $method =~ s/\AConnection/AnyEvent::WebSocket::Connection/r =~ s/\AHandle/AnyEvent::Handle/r;
}

my %ORIGINAL = map { my $name = full($_); no strict 'refs'; ($_ => \&$name) } ApiFuzz::Arguments::methods();

my %REPLACEMENT = (
    goto     => sub { my ($original) = @_; sub { goto &$original } },
    call     => sub { my ($original) = @_; sub { my @returned = $original->(@_); wantarray ? @returned : $returned[0] } },
    copy     => sub { my ($original) = @_; sub { my ($self, @arguments) = @_; $self->$original(@arguments) } },
    local    => sub { my ($original) = @_; sub { local $_ = 'mine'; $original->(@_) } },
    swallows => sub { sub { $_[0] } },
    dies     => sub { sub { die "fuzz die\n" } },
    acts     => \&acting,
);

sub acting {
    my ($original, $fuzz, $link, $steps) = @_;
    weaken($fuzz);
    weaken($link);
    my $calls = 0;
    return sub {
        $fuzz->in_callback($steps, [], $link) if $fuzz && $link && $calls++ < 3;
        goto &$original;
    };
}

sub replacement {
    my ($fuzz, $link, $method, $kind, $steps) = @_;
    my @loses = $kind =~ /acts|swallows|dies/ ? @{ $fuzz->{links} } : ();
    @$_{qw(is_void loses_frames has_second)} = (1, 1, 1) for @loses;
    return $REPLACEMENT{$kind}->($ORIGINAL{$method}, $fuzz, $link, $steps);
}

sub put {
    my ($method, $code) = @_;
    my $name = full($method);
    no strict 'refs';
    no warnings 'redefine';
    *$name = $code;
}

# Lasts until the step `restore` or the end of the plan.
$STEP{replace} = sub {
    my ($fuzz, $link, $method, $kind, $steps) = @_;
    put($method, replacement($fuzz, $link, $method, $kind, $steps));
};

$STEP{restore} = sub { my ($fuzz, $link, $method) = @_; put($method, $ORIGINAL{$method}) };

$STEP{replace_during} = sub {
    my ($fuzz, $link, $method, $kind, $more, $steps) = @_;
    my ($name, $code) = (full($method), replacement($fuzz, $link, $method, $kind, $more));
    no strict 'refs';
    no warnings 'redefine';
    local *$name = $code;
    $fuzz->run(@$steps);
};

sub restore_all {
    for my $method (sort keys %ORIGINAL) {
        my $name = full($method);
        no strict 'refs';
        put($method, $ORIGINAL{$method}) if \&$name != $ORIGINAL{$method};
    }
}

1;
