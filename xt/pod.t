# Tests that the documentation has the right form, and leaves nothing out: each attribute, method, event, function and option
# has an entry, with its signature and an example, and a note if the original does not have it.
use strict;
use warnings;
use FindBin;
use lib map {"$FindBin::Bin/$_"} qw(lib ../t/lib);
use Test::More;
use B ();
use List::Util qw(uniq);
use Pod::Checker;
use Pod::Simple::SimpleTree;
use PodCode;
use WebSocketTest;

use AnyEvent::WebSocket::Blocking;
use AnyEvent::WebSocket::Client;
use AnyEvent::WebSocket::Deflate;
use AnyEvent::WebSocket::Reconnecting;
use AnyEvent::WebSocket::Server;

plan skip_all => 'by design: the original has documentation of its own' if is_original();

my $class = 'AnyEvent::WebSocket::Connection';
my @files = PodCode::files();
my %file_of = map { s{^perl/|\.(?:pm|pod)$}{}gr =~ s{/}{::}gr => $_ } @files;

for my $file (@files) {
    my $checker = Pod::Checker->new(-warnings => 1);
    open my $complaints, '>', \my $text or die $!;
    $checker->parse_from_file("$PodCode::root/$file", $complaints);
    is $checker->num_errors + $checker->num_warnings, 0, "$file: podchecker" or diag $text;
}

# --- headings and links

# Returns the headings of a file, as [level, text, the paragraphs below it].
sub headings {
    my ($file) = @_;
    my @found;
    for my $paragraph (PodCode::paragraphs($file)) {
        my (undef, $text) = @$paragraph;
        if ($text =~ /^=head(\d)\s+(.*\S)/) { push @found, [$1, $2, []] }
        elsif (@found) { push @{ $found[-1][2] }, $text }
    }
    return @found;
}

my %headings = map { my $file = $file_of{$_}; $_ => { map { $_->[1] => 1 } headings($file) } } keys %file_of;

for my $module (sort keys %file_of) {
    my $tree = Pod::Simple::SimpleTree->new->parse_file("$PodCode::root/$file_of{$module}")->root;
    my @broken = grep { defined } map { broken_link($module, $_) } links($tree);
    is_deeply \@broken, [], "$module: its links lead somewhere";
}

sub links {
    my ($node) = @_;
    my ($name, $attributes, @children) = @$node;
    return ($name eq 'L' && $attributes->{type} eq 'pod' ? $attributes : (), map { links($_) } grep { ref } @children);
}

sub broken_link {
    my ($module, $link) = @_;
    my ($to, $section) = map { defined $link->{$_} ? "$link->{$_}" : undef } qw(to section);
    $to //= $module;
    return $to =~ /^AnyEvent::WebSocket::(?:Native|Deflate)\b/ ? $to : undef if !$headings{$to};
    return !defined $section || $headings{$to}{$section} ? undef : "$to/$section";
}

my @wanted = (
    'Moving an existing program', 'Keeping connections alive', 'Back-pressure', 'Streaming', 'Compression', 'Broadcast',
    'Limits on the open internet', 'Deployment behind nginx', 'Certificates of clients', 'Several processes', 'Debugging with the trace',
);
my @sections = map { $_->[0] == 1 ? $_->[1] : () } headings($file_of{'AnyEvent::WebSocket::Native::Manual'});
is_deeply [grep { my $title = $_; grep { $_ eq $title } @wanted } @sections], \@wanted, 'the sections of the manual, which others link to';

# --- entries

# Returns the entries of a section, as [name, paragraphs].
sub entries {
    my ($module, $section) = @_;
    my ($is_in, @entries) = (0);
    for my $heading (headings($file_of{$module})) {
        my ($level, $text, $paragraphs) = @$heading;
        $is_in = $text eq $section if $level == 1;
        push @entries, [$text, $paragraphs] if $is_in && $level == 2;
    }
    return @entries;
}

# Returns what a section says before its entries.
sub entry_text {
    my ($module, $section) = @_;
    my ($heading) = grep { $_->[0] == 1 && $_->[1] eq $section } headings($file_of{$module});
    return "@{ $heading->[2] }";
}

# Tests the entries of a section. `examples` is the minimum number of blocks in an entry, including its signature.
sub entries_ok {
    my ($module, $section, $names, $examples) = @_;
    my @entries = entries($module, $section);
    my @found = map { $_->[0] =~ s/ \(\w+\)$//r } @entries;
    is_deeply [sort @found], [sort @$names], "$module, $section: all there are, and no others";
    is_deeply \@found, [sort { lc $a cmp lc $b } @found], 'in alphabetical order';
    for my $entry (@entries) {
        my ($name, @paragraphs) = ($entry->[0] =~ s/ \(\w+\)$//r, @{ $entry->[1] });
        like $paragraphs[0], qr/^ +\S.*\b\Q$name\E\b/, "$name: first its signature";
        like $paragraphs[1], qr/^(?!=)\S/, "$name: then a sentence";
        my $blocks = grep { /^ / } @paragraphs;
        cmp_ok $blocks, '>=', $examples, "$name: and an example" if "@paragraphs" !~ /For an example see/;
    }
}

# Returns the subs of a package that are its own, or of a role of ours, without new and those that begin with an underscore.
sub public_subs {
    my ($package) = @_;
    no strict 'refs';
    return grep {
        my $code = /^[a-z]\w*$/ && $_ ne 'new' && defined &{"${package}::$_"} && \&{"${package}::$_"};
        $code && B::svref_2object($code)->GV->STASH->NAME =~ /^(?:AnyEvent::WebSocket\b|Class::Method::Modifiers|main$)/
    } sort keys %{"${package}::"};
}

sub attributes_of { sort keys %{ Moo->_constructor_maker_for($_[0])->all_attribute_specs } }

my @attributes = attributes_of($class);
my %is_attribute = map { $_ => 1 } @attributes;
my @methods = grep { !$is_attribute{$_} } public_subs($class);
my ($connection) = connection_and_peer();
my @events = listed(eval { $connection->on(nothing => sub { }); '' } // $@, qr/the events are (.*?) at /);
my @options = listed(eval { AnyEvent::WebSocket::Deflate::check(nothing => 1); '' } // $@, qr/the options are (.*?) at /);

sub listed {
    my ($text, $pattern) = @_;
    my ($list) = $text =~ $pattern or die "no list in '$text'";
    return split /, | and /, $list;
}

cmp_ok scalar @$_, '>', 7, 'there are names to look for: ' . @$_ for \@attributes, \@methods, \@events, \@options;

subtest 'Connection' => sub {
    entries_ok($class, 'ATTRIBUTES', \@attributes, 2);
    entries_ok($class, 'METHODS', \@methods, 2);
    entries_ok($class, 'EVENTS', \@events, 2);
};

subtest 'Message' => sub {
    my $message = 'AnyEvent::WebSocket::Message';
    my %own = map { $_ => 1 } my @of_message = attributes_of($message);
    entries_ok($message, 'ATTRIBUTES', \@of_message, 2);
    entries_ok($message, 'METHODS', [grep { !$own{$_} } public_subs($message)], 1);
};

subtest 'Client' => sub {
    my $client = 'AnyEvent::WebSocket::Client';
    my %own = map { $_ => 1 } my @of_client = attributes_of($client);
    # Those that are passed on to a connection are documented there.
    my @passed_on = grep { $is_attribute{$_} && !/^(?:deflate|strict|max_fragments|max_payload_size|subprotocol)$/ } @of_client;
    my ($description) = entry_text($client, 'ATTRIBUTES');
    like $description, qr/C<$_>/, "$_: is mentioned" for @passed_on;
    my %is_passed_on = map { $_ => 1 } @passed_on;
    entries_ok($client, 'ATTRIBUTES', [grep { !$is_passed_on{$_} } @of_client], 1);
    entries_ok($client, 'METHODS', [grep { !$own{$_} } public_subs($client)], 1);
};

subtest 'Server' => sub {
    my $server = 'AnyEvent::WebSocket::Server';
    my @arguments = AnyEvent::WebSocket::Native::ServerOptions::names();
    my ($description) = entry_text($server, 'ARGUMENTS');
    my %is_passed_on = map { $_ => 1 } grep { $is_attribute{$_} && !/^(?:deflate|strict|max_payload_size)$/ } @arguments;
    like $description, qr/C<$_>/, "$_: is mentioned" for sort keys %is_passed_on;
    entries_ok($server, 'ARGUMENTS', [grep { !$is_passed_on{$_} } @arguments], 1);
    entries_ok($server, 'METHODS', [public_subs($server)], 1);
};

subtest 'Deflate' => sub {
    my $deflate = 'AnyEvent::WebSocket::Deflate';
    entries_ok($deflate, 'FUNCTIONS', [public_subs($deflate)], 1);
    entries_ok($deflate, 'OPTIONS', \@options, 1);
};

subtest 'Blocking' => sub {
    my $blocking = 'AnyEvent::WebSocket::Blocking';
    my @names = listed(eval { $blocking->connect('ws://localhost/', nothing => 1); '' } // $@, qr/the options are (.*?) at /);
    entries_ok($blocking, 'CLASS METHODS', ['connect'], 2);
    entries_ok($blocking, 'OPTIONS', [grep { !/ / } @names], 1);
    entries_ok($blocking, 'METHODS', [grep { $_ ne 'connect' } public_subs($blocking)], 2);
};

subtest 'Reconnecting' => sub {
    my $reconnecting = 'AnyEvent::WebSocket::Reconnecting';
    my @all = listed(eval { $reconnecting->new(nothing => 1); '' } // $@, qr/the options are (.*?) at /);
    my @passed_on = grep { $is_attribute{$_} } @all;
    my $description = entry_text($reconnecting, 'OPTIONS');
    like $description, qr/C<$_>/, "$_: is mentioned" for @passed_on;
    entries_ok($reconnecting, 'OPTIONS', [grep { !$is_attribute{$_} } @all], 1);
    my @own = grep { B::svref_2object($reconnecting->can($_))->GV->STASH->NAME eq $reconnecting } public_subs($reconnecting);
    entries_ok($reconnecting, 'METHODS', \@own, 2);
    my $object = $reconnecting->new(uri => 'ws://localhost/', autostart => 0);
    my @events = listed(eval { $object->on(nothing => sub { }); '' } // $@, qr/the events are (.*?) at /);
    entries_ok($reconnecting, 'EVENTS', \@events, 2);
    entries_ok($reconnecting, 'FAILURES', [grep { !/^(?:new|of_connection)$/ } public_subs("${reconnecting}::Failure")], 1);
};

# --- additions to the original

sub marked {
    my ($module, @sections) = @_;
    return sort map { $_->[0] =~ s/ \(event\)$/ event/r }
        grep { "@{ $_->[1] }" =~ /I<Not\s+in\s+the\s+original\b/ } map { entries($module, $_) } @sections;
}

# Runs a program on the original, with these names as its arguments. Returns the words that it prints.
sub asked_of_original {
    my ($program, @names) = @_;
    my ($out) = run_perl({ ANYEVENT_WEBSOCKET_PP => 1, WEBSOCKET_TEST_BACKEND => '' }, "use WebSocketTest; $program", @names);
    return split ' ', $out;
}

subtest 'what the original does not have' => sub {
    plan skip_all => 'AnyEvent::WebSocket::Client is not installed' if !eval { require AnyEvent::WebSocket::Client };
    my @without = asked_of_original('print map { AnyEvent::WebSocket::Connection->can($_) ? () : "$_ " } @ARGV', @attributes, @methods);
    # These two exist on the original too: they report that it is the original.
    is_deeply [marked($class, qw(ATTRIBUTES METHODS))], [uniq sort @without, qw(backend enable_deflate)], 'attributes and methods';

    @without = asked_of_original('my ($c) = connection_and_peer(); print map { eval { $c->on($_ => sub { }); 1 } ? () : "$_ " } @ARGV', @events);
    is_deeply [map { s/ event$//r } marked($class, 'EVENTS')], [sort @without], 'events';

    my @ignored = asked_of_original('$SIG{__WARN__} = sub { print $_[0] =~ /PP is set: (.*?) at / };'
        . 'connection_and_peer(map { $_ => 1 } @ARGV)', grep { $_ ne 'handle' } @attributes);
    is_deeply [sort @ignored], [marked($class, 'ATTRIBUTES')], 'with ANYEVENT_WEBSOCKET_PP, a warning names just these attributes';

    my $message = 'AnyEvent::WebSocket::Message';
    @without = asked_of_original('print map { AnyEvent::WebSocket::Message->can($_) ? () : "$_ " } @ARGV', public_subs($message));
    is_deeply [marked($message, qw(ATTRIBUTES METHODS))], [sort @without], 'of messages';
};

done_testing;
