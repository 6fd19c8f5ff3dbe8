# Tests what is offered, accepted and confirmed for permessage-deflate, by the text of the header.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use WebSocketTest;

use AnyEvent::WebSocket::Deflate;

plan skip_all => 'by design: the original has no compression' if is_original();

sub accepted  { goto &AnyEvent::WebSocket::Deflate::accept }
sub confirmed { goto &AnyEvent::WebSocket::Deflate::confirm }

# Returns own window, own takeover, the peer's window, the peer's takeover.
sub terms {
    my ($parameters) = @_;
    return [@$parameters{qw(window_bits no_context_takeover peer_window_bits peer_no_context_takeover)}];
}

subtest 'what a client offers' => sub {
    my %options = (
        '' => 'permessage-deflate; server_max_window_bits=12; client_max_window_bits=12, permessage-deflate; client_max_window_bits',
        'server_max_window_bits 15 client_max_window_bits 15' => 'permessage-deflate; client_max_window_bits',
        'server_max_window_bits 9 client_max_window_bits 15' =>
            'permessage-deflate; server_max_window_bits=9, permessage-deflate; client_max_window_bits',
        'server_max_window_bits 15 client_max_window_bits 15 server_no_context_takeover 1 client_no_context_takeover 1' =>
            'permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits',
    );
    is AnyEvent::WebSocket::Deflate::offer(split ' ', $_), $options{$_}, "with: $_" for sort keys %options;
};

# offer, options, response or undef, the server's terms
my @accepts = (
    ['permessage-deflate', '', 'permessage-deflate; server_max_window_bits=12', [12, 0, 15, 0]],
    ['permessage-deflate; client_max_window_bits', '',
        'permessage-deflate; server_max_window_bits=12; client_max_window_bits=12', [12, 0, 12, 0]],
    ['Permessage-Deflate ;CLIENT_max_window_bits = "10"', '',
        'permessage-deflate; server_max_window_bits=12; client_max_window_bits=10', [12, 0, 10, 0]],
    ['permessage-deflate; client_max_window_bits=15', 'client_max_window_bits 15 server_max_window_bits 15',
        'permessage-deflate', [15, 0, 15, 0]],
    ['permessage-deflate; server_max_window_bits=9', '', 'permessage-deflate; server_max_window_bits=9', [9, 0, 15, 0]],
    ['permessage-deflate; server_max_window_bits=15', '', 'permessage-deflate; server_max_window_bits=12', [12, 0, 15, 0]],
    ['permessage-deflate; server_max_window_bits=15', 'server_max_window_bits 15',
        'permessage-deflate; server_max_window_bits=15', [15, 0, 15, 0]],
    ['permessage-deflate; client_max_window_bits=8', 'server_max_window_bits 15',
        'permessage-deflate; client_max_window_bits=8', [15, 0, 8, 0]],
    ['permessage-deflate; server_no_context_takeover', 'server_max_window_bits 15',
        'permessage-deflate; server_no_context_takeover', [15, 1, 15, 0]],
    ['permessage-deflate; client_no_context_takeover', 'server_max_window_bits 15',
        'permessage-deflate; client_no_context_takeover', [15, 0, 15, 1]],
    ['permessage-deflate', 'server_max_window_bits 15 server_no_context_takeover 1 client_no_context_takeover 1',
        'permessage-deflate; server_no_context_takeover; client_no_context_takeover', [15, 1, 15, 1]],
    ['x-other; a=b, permessage-deflate', 'server_max_window_bits 15', 'permessage-deflate', [15, 0, 15, 0]],
    ['x-other; a="b, permessage-deflate; x", , permessage-deflate,', 'server_max_window_bits 15', 'permessage-deflate', [15, 0, 15, 0]],
    ['permessage-deflate; server_max_window_bits=8, permessage-deflate', '',
        'permessage-deflate; server_max_window_bits=12', [12, 0, 15, 0]],
    ['permessage-deflate; new_thing, permessage-deflate; server_max_window_bits=10, permessage-deflate', '',
        'permessage-deflate; server_max_window_bits=10', [10, 0, 15, 0]],
    map { [$_, '', undef] } (
        undef, '', ' , ', 'x-webkit-deflate-frame', 'permessage-deflate-2', 'permessage-deflate; unknown', 'permessage-deflate; unknown=1',
        'permessage-deflate; server_max_window_bits', 'permessage-deflate; server_max_window_bits=8',
        'permessage-deflate; server_max_window_bits=16', 'permessage-deflate; server_max_window_bits=7',
        'permessage-deflate; server_max_window_bits=012', 'permessage-deflate; server_max_window_bits=""',
        'permessage-deflate; client_max_window_bits=x', 'permessage-deflate; client_max_window_bits=16',
        'permessage-deflate; server_no_context_takeover=1', 'permessage-deflate; client_no_context_takeover=""',
        'permessage-deflate; server_no_context_takeover; server_no_context_takeover',
        'permessage-deflate; client_max_window_bits=10; client_max_window_bits=10',
        'permessage-deflate; ', 'permessage-deflate server_no_context_takeover', 'permessage-deflate; a="', 'permessage-deflate, =',
    ),
);

subtest 'what a server accepts' => sub {
    for my $case (@accepts) {
        my ($offer, $options, $response, $terms) = @$case;
        my $name = (defined $offer ? "'$offer'" : 'undef') . ($options ? " with $options" : '');
        my @result = accepted($offer, split ' ', $options);
        is_deeply \@result, [], "declined: $name" and next unless defined $response;
        is $result[0], $response, $name;
        is_deeply terms($result[1]), $terms, '... and what that means to it' if @result;
    }
};

# response, options, the client's terms or undef
my @confirms = (
    ['permessage-deflate', '', [12, 0, 15, 0]],
    ['permessage-deflate; server_max_window_bits=12; client_max_window_bits=12', '', [12, 0, 12, 0]],
    ['permessage-deflate; client_max_window_bits=9', '', [9, 0, 15, 0]],
    ['permessage-deflate; client_max_window_bits=15', '', [12, 0, 15, 0]],
    ['permessage-deflate; client_max_window_bits=8', '', [8, 0, 15, 0]],
    ['permessage-deflate; server_max_window_bits=8', '', [12, 0, 8, 0]],
    ['permessage-deflate; client_max_window_bits="10"', 'client_max_window_bits 15', [10, 0, 15, 0]],
    ['permessage-deflate; server_no_context_takeover; client_no_context_takeover', '', [12, 1, 15, 1]],
    ['permessage-deflate', 'client_no_context_takeover 1', [12, 1, 15, 0]],
    ['permessage-deflate; server_no_context_takeover', 'server_no_context_takeover 1', [12, 0, 15, 1]],
    ['permessage-deflate', 'server_no_context_takeover 1', undef],
    map { [$_, '', undef] } (
        'x-other', 'permessage-deflate; unknown', 'permessage-deflate, permessage-deflate', 'permessage-deflate, x-other',
        'permessage-deflate; client_max_window_bits', 'permessage-deflate; server_max_window_bits=7',
        'permessage-deflate; server_max_window_bits=12; server_max_window_bits=12', 'permessage-deflate; server_no_context_takeover=1',
        'permessage-deflate;', ',', '=',
    ),
);

subtest 'what a client confirms' => sub {
    for my $case (@confirms) {
        my ($response, $options, $terms) = @$case;
        my @options = split ' ', $options;
        my $name = "'$response'" . ($options ? " after $options" : '');
        croaks_here("confirm: $name", sub { confirmed($response, @options) }, qr/\Q$response/) and next unless $terms;
        is_deeply terms(confirmed($response, @options)), $terms, $name;
    }
    is_deeply [confirmed($_)], [], 'declined: ' . (defined $_ ? "'$_'" : 'undef') for undef, '', ' ';
};

subtest 'both ends agree on the same' => sub {
    for my $options ('', 'server_max_window_bits 9', 'client_max_window_bits 9 server_max_window_bits 15', 'client_no_context_takeover 1',
        'server_no_context_takeover 1 client_max_window_bits 15')
    {
        my @options = split ' ', $options;
        my ($response, $server) = accepted(AnyEvent::WebSocket::Deflate::offer(@options));
        my @mirrored = @{ terms(confirmed($response, @options)) }[2, 3, 0, 1];
        is_deeply \@mirrored, terms($server), "the client has: $options";
    }
};

subtest 'options that make no sense' => sub {
    my @wrong = (
        [qw(level 0)], [qw(level 10)], [qw(level best)], [level => undef], [qw(mem_level 0)], [qw(mem_level 10)],
        [qw(server_max_window_bits 8)], [qw(client_max_window_bits 16)], [qw(client_max_window_bits 12.5)],
        [qw(threshold -1)], [threshold => undef], [qw(threshold many)], [qw(idle_timeout -1)], [qw(idle_timeout soon)],
        [qw(window_bits 12)], ['level'],
    );
    for my $wrong (@wrong) {
        my $name = join ' ', map { defined $_ ? $_ : 'undef' } @$wrong;
        croaks_here("offer: $name", sub { AnyEvent::WebSocket::Deflate::offer(@$wrong) }, @$wrong > 1 ? qr/\Q$wrong->[0]/ : ());
        croaks_here("accept: $name", sub { AnyEvent::WebSocket::Deflate::accept('x', @$wrong) });
        croaks_here("confirm: $name", sub { AnyEvent::WebSocket::Deflate::confirm('', @$wrong) });
    }
};

subtest 'parameters that are none' => sub {
    for my $wrong (1, 'permessage-deflate', {}, [], bless({}, 'Other')) {
        my ($connection) = connection_and_peer();
        my $class = ref $connection;
        my @arguments = (handle => AnyEvent::Handle->new(fh => (socket_pair())[0]), deflate => $wrong);
        croaks_here("new(deflate => $wrong)", sub { $class->new(@arguments) }, qr/compression takes/);
        croaks_here("enable_deflate($wrong)", sub { $connection->enable_deflate($wrong) }, qr/compression takes/);
    }
};

subtest 'the original' => sub {
    my ($printed, $status) = run_perl({ ANYEVENT_WEBSOCKET_PP => 1 }, <<'PROGRAM');
        use AnyEvent::WebSocket::Deflate;
        print AnyEvent::WebSocket::Deflate::available(), scalar(my @none = AnyEvent::WebSocket::Deflate::accept('permessage-deflate'));
        for my $code (\&AnyEvent::WebSocket::Deflate::offer, sub { AnyEvent::WebSocket::Deflate::confirm('permessage-deflate') },
            sub { AnyEvent::WebSocket::Connection->enable_deflate })
        {
            print eval { $code->(); 1 } ? 'lived' : $@ =~ /ANYEVENT_WEBSOCKET_PP/ ? ' died' : $@;
        }
PROGRAM
    plan skip_all => 'the original is not installed' if $status;
    is $printed, '00 died died died', 'accepts nothing, and the rest says why it cannot';
};

done_testing;
