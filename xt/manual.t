# Tests that the complete programs in the manual do what its sections say: each runs as it stands there, with a peer.
use strict;
use warnings;
use FindBin;
use lib map {"$FindBin::Bin/$_"} qw(lib ../t/lib ../t/examples/lib);
use Test::More;
use WebSocketTest;

use Cwd qw(getcwd);
use ExampleProgram;
use ExampleTest;
use File::Temp;
use IO::Socket::INET;
use JSON::PP qw(decode_json);
use PodCode;
use PodCode::Stage;

plan skip_all => 'by design: the original lacks what the manual shows' if is_original();
alarm 1200 * patience();

my $directory = File::Temp->newdir;
my %blocks;
push @{ $blocks{ $_->{section} } }, $_ for PodCode::blocks('perl/AnyEvent/WebSocket/Native/Manual.pod');

sub blocks_of {
    my ($section, $kind) = @_;
    return grep { $_->{kind} eq $kind } @{ $blocks{$section} };
}

# Starts a section's program: its only one, or the one with this index.
sub start_program {
    my ($section, $index, @arguments) = @_;
    my $block = (blocks_of($section, 'program'))[$index];
    my $path = "$directory/" . lc("$section-$index.pl") =~ tr/ /-/r;
    open my $file, '>:encoding(UTF-8)', $path or die "$path: $!";
    print {$file} "# line $block->{line} \"$block->{file}\"\n$block->{text}";
    close $file or die $!;
    return ExampleProgram->run($^X, (map {"-I$_"} @INC), $path, @arguments);
}

# Starts a program that is a server. Returns it, and its URL.
sub start_server {
    my ($section, @arguments) = @_;
    my $program = start_program($section, 0, @arguments);
    return ($program, $program->wait_for(qr{^listening on (ws://\S+/)}m));
}

sub bodies { [map { $_->decoded_body } $_[0]->messages] }

# Starts a server in this process, which calls back with each connection. Returns its URL, and a guard.
sub own_server {
    my ($serve) = @_;
    my $port;
    my $guard = AnyEvent::Socket::tcp_server('127.0.0.1', 0, sub {
        AnyEvent::WebSocket::Server->new->establish($_[0])->cb(sub { $serve->($_[0]->recv); poke() });
    }, sub { $port = $_[2]; 0 });
    return ("ws://127.0.0.1:$port/", $guard);
}

# Tests of a section's programs, by the section's title.
my %course;

$course{'Moving an existing program'} = sub {
    for my $backend (qw(rust pp)) {
        local $ENV{ANYEVENT_WEBSOCKET_PP} = $backend eq 'pp';
        local $ENV{WEBSOCKET_TEST_BACKEND} = '';
        my $program = start_program('Moving an existing program', 0, PodCode::Stage::server_url());
        is $program->wait, 0, "on $backend: ends well";
        is $program->output, "backend: $backend\nreceived: hello\n", 'and does the same';
    }
};

$course{'Handshakes'} = sub {
    my ($server, $url) = start_server('Handshakes', 0, 'https://www.example.com');
    my $outcome = sub {
        my $client = start_program('Handshakes', 1, @_);
        $client->wait;
        return $client->output;
    };
    my $kitchen = "${url}room/kitchen";
    my @arguments = ($kitchen, 'https://www.example.com');
    is $outcome->(@arguments, 'chat.v1', 'chat.v2'), "subprotocol: chat.v2\nkitchen: hello\n", 'the server chooses its best';
    $server->wait_for(qr/^a client of chat\.v2 enters kitchen$/m);
    is $outcome->(@arguments, 'chat.v1'), "subprotocol: chat.v1\nkitchen: hello\n", 'or what the client speaks';
    my $forbidden = qr/^refused: 403 Forbidden\nForbidden\nno connection: handshake error: .*403/;
    like $outcome->(@arguments, 'chat.v3'), $forbidden, 'without a subprotocol in common, the client is refused';
    $server->wait_for(qr/^refused: no subprotocol in common$/m);
    like $outcome->($kitchen, '', 'chat.v2'), $forbidden, 'so it is with its own origin';
    $server->wait_for(qr/^refused: handshake error: the origin is not allowed: http:/m);
    like $outcome->("${url}cellar", 'https://www.example.com', 'chat.v2'),
        qr/^refused: 404 Not Found\nno such room\nno connection: handshake error: .*404/, 'a room that does not exist';
};

$course{'Keeping connections alive'} = sub {
    my $seconds = 0.3 * patience();
    my @connections;
    my ($url, $guard) = own_server(sub { push @connections, $_[0] });
    my $program = start_program('Keeping connections alive', 0, $url, $seconds);
    wait_until('a connection', sub { @connections == 1 });
    $connections[0]->send('first');
    $program->wait_for(qr/^first$/m);
    $program->wait_for(qr/^latency: 0\.\d+ s$/m);
    $connections[0]->close(1001);
    $program->wait_for(qr/^1001; next try in [01]\.\d s$/m);
    wait_until('a second connection', sub { @connections == 2 });
    $connections[1]->pause;
    $program->wait_for(qr/^the peer did not answer a ping within \Q$seconds\E seconds; next try in [012]\.\d s$/m);
    wait_until('a third connection', sub { @connections == 3 });
    undef $guard;
    $connections[2]->close;
    $program->wait_for(qr/^1005; next try .*^unable to connect; next try in/ms);
    pass 'it connects again, whatever happens';
};

$course{'Back-pressure'} = sub {
    my ($program, $url) = start_server('Back-pressure');
    my $client = client_at($url);
    my $seen = recorder($client);
    $client->send($_) for 3, 'nonsense', 0, 2;
    is_deeply [map { /^row (\d+) / } @{ $seen->wait_messages(5)->bodies }], [1, 2, 3, 1, 2], 'rows, request by request';

    my $rows = 100_000;
    my $slow = client_at($url);
    my ($received, $last) = (0, '');
    $slow->on(each_message => sub { $received++; $last = substr $_[1]->body, 0, 10; poke() });
    $slow->send($rows);
    wait_until('the first row', sub { $received });
    $slow->pause;
    after(0.5);
    cmp_ok memory_of($program), '<', 70_000_000, 'what waits for a peer that does not read takes no memory';
    $client->send(1);
    $seen->wait_messages(6);
    $slow->resume;
    wait_until('all rows', sub { $received == $rows }, 300);
    is $last, "row $rows", 'all come when it reads';
};

$course{'Receiving without callbacks'} = sub {
    my $client = start_program('Receiving without callbacks', 0, PodCode::Stage::server_url(), 'one', 'two');
    is $client->wait, 0, 'the client ends well';
    is $client->output, "one\ntwo\nthe connection has ended: this side closed it: 1000\n", 'with all answers';

    my $server = start_program('Receiving without callbacks', 1);
    my ($url) = $server->wait_for(qr{^listening on (ws://\S+/)}m);
    my @clients = map { client_at($url) } 1 .. 3;
    my @seen = map { recorder($_) } @clients;
    for my $text ('hello', 'good bye') { $_->send($text) for @clients }
    is_deeply $_->wait_messages(2)->bodies, ['you said: hello', 'you said: good bye'], 'the server answers each client' for @seen;
    $clients[0]->close(4000);
    $server->wait_for(qr/^finished: 4000$/m);
    undef $clients[1];
    $server->wait_for(qr/^finished: the client hung up$/m);
    $clients[2]->send('still there?');
    is $seen[2]->wait_messages(3)->bodies->[2], 'you said: still there?', 'and goes on with the others';
};

sub memory_of {
    my ($program) = @_;
    open my $status, '<', "/proc/$program->{pid}/status" or return 0;
    my ($kibibytes) = map { /^VmHWM:\s+(\d+)/ } <$status>;
    return 1024 * $kibibytes;
}

$course{'Streaming'} = sub {
    my ($program, $url) = start_server('Streaming');
    my $client = client_at($url, max_payload_size => 0);
    my $seen = recorder($client);
    my @octets = (join('', map { pack 'N', $_ } 1 .. 700_000), "\xff", '');
    $client->send_binary($_) for @octets;
    $client->send_text("gr\x{fc}n");
    my @messages = $seen->wait_messages(4)->messages;
    is_deeply [map { length $_->body } @messages], [(map { length } @octets), 5], 'messages of all sizes come back';
    ok $messages[0]->body eq $octets[0], 'whole';
    is_deeply [map { $_->opcode } @messages], [2, 2, 2, 1], 'and of their kind';
    is $program->output =~ tr/\n//, 1, 'the server has nothing to complain of';
};

$course{'Compression'} = sub {
    my ($server, $url) = start_server('Compression');
    my $client = start_program('Compression', 1, $url);
    is $client->wait, 0, 'the client ends well';
    is $client->output, "compressed\n100 elements\n", 'compressed';
    my @ratios = $server->wait_for(qr/^received compressed ([\d.]+) to 1, sent ([\d.]+) to 1$/m);
    cmp_ok $_, '>', 1.5, 'much' for @ratios;
    is start_program('Moving an existing program', 0, $url)->wait, 0, 'the server also takes clients that do not compress';

    $client = start_program('Compression', 1, PodCode::Stage::server_url());
    is $client->wait, 0, 'and the client also such servers';
    is $client->output, "the server does not compress\n100 elements\n", 'which it says';
};

$course{'Broadcast'} = sub {
    my ($server, $url) = start_server('Broadcast');
    my ($talker, $listener, $slow) = map { client_at($url) } 1 .. 3;
    my @seen = map { recorder($_) } $talker, $listener;
    $_->wait_messages(2) for @seen;
    my $time = decode_json($seen[0]->bodies->[-1]);
    cmp_ok abs($time->{time} - AE::now), '<', 60 * patience(), 'everybody gets the time';
    is $time->{connections}, 3, 'and the number of connections';
    $slow->pause;
    # The talker sends as much as the listener takes.
    my ($heard, $last) = (0, {});
    $listener->on(each_message => sub {
        my (undef, $message) = @_;
        $message->body =~ /^\{/ ? $last = $message->decoded_json : $heard++ < 2000 && $talker->send('a' x 60_000);
        poke();
    });
    $talker->send('a' x 60_000);
    wait_until('a time without the slow one', sub { ($last->{connections} // 3) == 2 });
    cmp_ok $heard, '>', 10, 'what one says goes to the others';
    is scalar(grep { /^a/ } @{ $seen[0]->bodies }), 0, 'but not to itself';
    pass 'who does not read for long is given up';
};

$course{'Limits on the open internet'} = sub {
    my ($table) = blocks_of('Limits on the open internet', 'output');
    my ($program) = blocks_of('Limits on the open internet', 'program');
    my %listed = $table->{text} =~ /^([a-z]\w+) +([\d_]+) /mg;
    delete $listed{connections};
    my ($limits) = $program->{text} =~ /%limits = \((.*?)\);/s;
    is_deeply +{ $limits =~ /(\w+) +=> ([\d_]+),/g }, \%listed, 'the program has the values of the table';

    my ($server, $url) = start_server('Limits on the open internet', 0, 'https://www.example.com');
    my ($port) = $url =~ /:(\d+)/;
    my $connect = sub {
        client_at($url, http_headers => { Origin => $_[0] // 'https://www.example.com' }, http_headers_replace => 1);
    };
    my $raw = sub { WebSocketTest::Peer->new(IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) || die $@) };
    my $silent = $raw->();

    my $client = $connect->();
    my $seen = recorder($client);
    $client->send('x' x 65_536);
    $seen->wait_messages(1);
    $client->send('x' x 65_537);
    $seen->wait_finish;
    is $client->close_code, 1009, 'a message that is too large';
    $server->wait_for(qr/^127\.0\.0\.1:\d+: Payload is too big\./m);

    $client = $connect->();
    $seen = recorder($client);
    $client->ping for 1 .. 100;
    $seen->wait_finish;
    is $client->close_code, 1008, 'pings that are too many';

    ok !eval { $connect->('https://www.example.org'); 1 }, 'another origin is refused';
    like $@, qr/403/, 'with 403';
    my $talkative = $raw->();
    $talkative->write("GET / HTTP/1.1\r\nX: " . 'x' x 25_000)->wait_eof;
    like $talkative->bytes, qr{^HTTP/1\.1 431 }, 'a request that is too large gets 431';
    my $wrong = $raw->();
    $wrong->write("GET / HTTP/1.1\r\n\r\n")->wait_eof;
    like $wrong->bytes, qr{^HTTP/1\.1 426 }, 'one that asks for no WebSocket gets 426';

    my @clients = map { $connect->() } 2 .. 20;
    my $refused = $raw->()->wait_eof;
    is $refused->bytes, '', 'a twenty-first connection of one address is refused';
    ok !$silent->eof, 'while all others are there';
    $clients[0]->close;
    recorder($clients[0])->wait_finish;
    wait_until('room for another', sub { eval { $connect->() } || (after(0.05), 0)[1] });
    pass 'when one has gone there is room again';
    $silent->wait_eof;
    like $silent->bytes, qr{^HTTP/1\.1 408 }, 'who does not shake hands in time gets 408';
};

$course{'Deployment behind nginx'} = sub {
    my $why_not = missing(modules => ['Net::SSLeay'], programs => [qw(nginx openssl)]);
    plan skip_all => $why_not if $why_not;
    my ($server, $url) = start_server('Deployment behind nginx', 0);
    my $port = free_port();
    my $nginx = start_nginx($port, $url =~ /:(\d+)/);
    wait_until('nginx to listen', sub { $nginx->ended || IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) || (after(0.05), 0)[1] });
    my $client = client_at("wss://localhost:$port/socket", to => ['127.0.0.1', $port], ssl_ca_file => "$directory/cert.pem");
    my $seen = recorder($client);
    $client->send('hello');
    is_deeply $seen->wait_messages(1)->bodies, ['hello'], 'messages go both ways';
    $server->wait_for(qr/^127\.0\.0\.1: connected$/m);
    is $server->signal('TERM')->wait, 0, 'SIGTERM ends the server';
    $seen->wait_finish;
    is $client->close_code, 1001, 'with a word to the client';
};

$course{'Stopping a server'} = sub {
    my ($server, $url) = start_server('Stopping a server', 0);
    my ($port) = $url =~ /:(\d+)/;
    my $client = client_at($url);
    my $seen = recorder($client);
    $client->send('hello');
    is_deeply $seen->wait_messages(1)->bodies, ['hello'], 'it echoes';
    my $silent = client_at($url);
    $silent->pause;
    my $raw = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "connect: $!";
    my $late = WebSocketTest::Peer->new($raw);
    my @head = ('GET / HTTP/1.1', 'Host: localhost', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13');
    $late->write(join "\r\n", @head, '')->wait_written;
    $client->send('again');
    is_deeply $seen->wait_messages(2)->bodies, ['hello', 'again'], 'and has accepted them all';
    $server->signal('TERM');
    $seen->wait_finish;
    is $client->close_code, 1001, 'SIGTERM: the client is told';
    $late->write("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")->wait_eof;
    like $late->bytes, qr/\x88.*the server stops/s, 'a client whose handshake was not over as well';
    $late->close;
    $server->wait_for(qr/^stopped$/m);
    is $server->wait, 0, 'a client that reads nothing does not keep it';
};

# Starts nginx with the manual's configuration, but our ports.
sub start_nginx {
    my ($port, $server_port) = @_;
    system(qw(sh -c), 'exec "$@" 2>"$0"', "$directory/openssl.log", qw(openssl req -x509 -newkey rsa:2048 -nodes -days 2),
        qw(-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout), "$directory/key.pem", '-out', "$directory/cert.pem") == 0
        or die "openssl failed\n";
    my ($block) = blocks_of('Deployment behind nginx', 'nginx');
    my $config = $block->{text};
    $config =~ s/listen \K443/127.0.0.1:$port/ or die 'no port in the configuration';
    $config =~ s/proxy_pass http:\/\/127\.0\.0\.1:\K5000/$server_port/ or die 'no port of the server in the configuration';
    my $paths = join '', map {"${_}_temp_path tmp-$_;\n"} qw(client_body proxy fastcgi uwsgi scgi);
    open my $file, '>', "$directory/nginx.conf" or die $!;
    print {$file} "daemon off;\npid nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n$paths$config}\n";
    close $file or die $!;
    return ExampleProgram->run('nginx', '-p', "$directory", '-c', 'nginx.conf', '-e', 'stderr');
}

$course{'Certificates of clients'} = sub {
    my $why_not = missing(modules => ['Net::SSLeay'], programs => ['openssl']);
    plan skip_all => $why_not if $why_not;
    my ($commands) = blocks_of('Certificates of clients', 'shell');
    my $here = getcwd();
    chdir $directory or die "$directory: $!";
    system(qw(sh -ec), "exec 2>openssl.log\n$commands->{text}") == 0 or die "openssl failed\n";
    my $server = start_program('Certificates of clients', 0);
    my ($url) = $server->wait_for(qr{^listening on (wss://\S+/)}m);
    my $client = start_program('Certificates of clients', 1, $url);
    is $client->wait, 0, 'a client with a certificate ends well';
    is $client->output, "alice: hello\n", 'the server knows its name';

    is eval { client_at($url, ssl_ca_file => 'ca.pem'); 1 }, undef, 'one without a certificate gets no connection';
    $server->wait_for(qr/^refused: connection error: .*peer did not return a certificate/m);
    system(qw(sh -ec), 'exec 2>openssl.log; openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=alice -keyout alice.key -out alice.pem')
        == 0 or die "openssl failed\n";
    $client = start_program('Certificates of clients', 1, $url);
    isnt $client->wait, 0, 'one with a certificate of its own fails';
    like $client->output, qr/^no connection: connect error: /, 'and says so';
    chdir $here or die "$here: $!";
};

$course{'Several processes'} = sub {
    my ($server, $url) = start_server('Several processes', 0, 2);
    my $worker_of = sub {
        my ($client) = @_;
        my $seen = recorder($client);
        $client->send_text('hello');
        my ($pid, $text) = $seen->wait_messages(1)->bodies->[0] =~ /^(\d+): (.*)$/;
        is $text, 'hello', 'a worker answers';
        return $pid;
    };
    my %clients;
    until (keys %clients == 2) { my $client = client_at($url); $clients{ $worker_of->($client) } = $client }
    pass 'both workers get connections';
    my ($first, $second) = sort keys %clients;
    my ($lost, $kept) = map { recorder($clients{$_}) } $first, $second;
    kill KILL => $first;
    $lost->wait_finish;
    my $new;
    until ($new) { my $pid = $worker_of->(client_at($url)); $new = $pid if $pid != $second }
    isnt $new, $first, 'one that dies is replaced';
    is_deeply $kept->order, [], 'and the other is left alone';
    is $server->stop, 0, 'SIGTERM ends the server';
    $kept->wait_finish;
    wait_until('the workers to be gone', sub { !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $url =~ /:(\d+)/) || (after(0.05), 0)[1] });
    pass 'and its workers';
};

$course{'Debugging with the trace'} = sub {
    local $ENV{ANYEVENT_WEBSOCKET_TRACE} = 1;
    my $program = start_program('Debugging with the trace', 0, PodCode::Stage::server_url());
    is $program->wait, 0, 'ends well';
    my $output = $program->output =~ s/^.*? (127\.0\.0\.1:)\d+: /${1}5000: /mgr;
    my ($shown) = blocks_of('Debugging with the trace', 'output');
    is $output, $shown->{text}, 'and its trace is the one that is shown';
};

$course{'Testing with a fake connection'} = sub {
    my $program = start_program('Testing with a fake connection', 0);
    is $program->wait, 0, 'passes';
    is $program->output, "ok 1 - the reply\nok 2 - the end\n1..2\n", 'its tests';
    my $with_client = start_program('Testing with a fake connection', 1);
    is $with_client->wait, 0, 'that with a client passes';
    is $with_client->output, "ok 1 - it subscribes\n1..1\n", 'its test';
};

my @sections = grep { blocks_of($_, 'program') } keys %blocks;
is_deeply [sort keys %course], [sort @sections], 'each program has a test';
subtest $_ => $course{$_} for sort @sections;

done_testing;
