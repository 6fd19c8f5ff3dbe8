# Tests that the handle's own methods do the work of TLS where Net::SSLeay's library does not provide OpenSSL's functions.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

use WebSocketTest::TLS;

my $why_not = WebSocketTest::TLS::unavailable();
plan skip_all => $why_not if $why_not;

# The functions are looked for once in a process, so each case is a separate program. It begins with this.
my $hide = <<'PROGRAM';
    use strict;
    use warnings;
    use DynaLoader ();
    use Net::SSLeay ();
    no warnings 'redefine';
    my $missing = shift @ARGV;
    my ($ssleay) = grep { $DynaLoader::dl_modules[$_] eq 'Net::SSLeay' } 0 .. $#DynaLoader::dl_modules;
    $DynaLoader::dl_modules[$ssleay] = 'hidden' if $missing eq 'library';
    # This is any other library that perl has loaded, which knows nothing of OpenSSL.
    my ($other) = grep { $_ != $ssleay } 0 .. $#DynaLoader::dl_modules;
    $DynaLoader::dl_shared_objects[$ssleay] = $DynaLoader::dl_shared_objects[$other] if $missing eq 'functions';
PROGRAM

# Prints how often the handles' own _dotls was called for a hundred messages and their echoes, and how the rest went.
my $echo = <<'PROGRAM';
    use AnyEvent::Handle;
    my $calls = 0;
    my $dotls = AnyEvent::Handle->can('_dotls');
    *AnyEvent::Handle::_dotls = sub { $calls++; goto &$dotls };
    require WebSocketTest;
    require WebSocketTest::TLS;
    my ($server_handle, $client_handle) = WebSocketTest::TLS::tls_handles();
    my ($server, $client) = map { AnyEvent::WebSocket::Connection->new(@$_, max_payload_size => 0) }
        [handle => $server_handle], [handle => $client_handle, masked => 1];
    my ($server_seen, $client_seen) = map { WebSocketTest::recorder($_) } $server, $client;
    $server->on(each_message => sub { $_[0]->send($_[1]) });

    sub echoed {
        my (@bodies) = @_;
        my $before = () = $client_seen->messages;
        $client->send($_) for @bodies;
        $client_seen->wait_messages($before + @bodies);
        my @got = @{ $client_seen->bodies }[$before .. $before + $#bodies];
        return !grep { $got[$_] ne $bodies[$_] } 0 .. $#bodies;
    }

    echoed('the handshake is over') or die "nothing came back\n";
    $calls = 0;
    echoed("small $_") or print "small message $_ came back wrong\n" for 1 .. 100;
    print "called $calls times\n";
    my $large = join '', map { pack 'N', $_ } 1 .. 500_000;
    print echoed($large, 'behind it', $large . 'x') ? "large messages\n" : "large messages came back wrong\n";
    $client->close(4000, 'bye');
    $_->wait_finish for $server_seen, $client_seen;
    print 'closed with ', join ', ', map { $_ // 'no error' } $server->close_code, map { $_->close_error } $server, $client;
PROGRAM

my $good_end = 'closed with 4000, no error, no error';

my %missing = ('OpenSSL, since the library is not linked to it' => 'functions', 'the library, as if linked to perl' => 'library');

for my $what (sort keys %missing) {
    subtest "missing: $what" => sub {
        my ($calls, @rest) = run_echo($missing{$what});
        cmp_ok $calls, '>=', 400, 'the handles encrypt and decrypt every message';
        is_deeply \@rest, ['large messages', $good_end], 'large messages, and the close';
    };
}

differs 'nothing missing' => 'has the handle do it' => sub {
    my ($calls, @rest) = run_echo('nothing');
    is $calls, 0, 'the handles do not, so the number tells the two ways apart';
    is_deeply \@rest, ['large messages', $good_end], 'all else is the same';
};

# Returns the number of calls, and the other lines.
sub run_echo {
    my ($missing) = @_;
    my ($printed, $status) = run_perl({}, $hide . $echo, $missing);
    is $status, 0, 'it runs';
    my ($calls, @rest) = split /\n/, $printed;
    return (($calls // '') =~ /\Acalled (\d+) times\z/ ? $1 : -1, @rest);
}

for my $test (qw(tls.t tls-direct-use.t)) {
    my ($printed, $status) = run_perl({}, "$hide do \$ARGV[0]; die \$@ if \$@", 'functions', "$FindBin::Bin/../contract/handle/$test");
    is $status, 0, "all of $test" or diag $printed;
    like $printed, qr/^1\.\.[1-9]/m, 'it ran';
}

done_testing;
