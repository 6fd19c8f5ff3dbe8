# Tests the examples together with a browser, Redis and nginx. What is not installed is skipped. (t/examples has the tests
# that need none of these.)
use strict;
use warnings;
use FindBin;
use lib map {"$FindBin::Bin/$_"} qw(lib ../t/lib ../t/examples/lib);
use Test::More;
use WebSocketTest;

use Browser;
use Compress::Zlib ();
use ExampleProgram;
use ExampleTest;
use File::Temp;
use Nginx;

plan skip_all => 'by design: the original lacks what the examples show' if is_original();
alarm 1200 * patience();    # browsers take their time

my $directory = File::Temp->newdir;

sub chat_server {
    my $server = ExampleProgram->start('chat/chat-server.pl', @_);
    my ($address) = $server->wait_for(qr{^listening on http://(.*)/$}m);
    return ($server, $address);
}

sub port_of { $_[0] =~ /:(\d+)$/ ? $1 : die "no port in $_[0]" }

subtest 'chat in a browser' => sub {
    my $why_not = missing(modules => ['HTTP::Parser::XS'], programs => [qw(chromium chromedriver)]);
    plan skip_all => $why_not if $why_not;
    my ($server, $address) = chat_server();
    my $browser = Browser->new;
    my @tabs = map { $browser->open_tab("http://$address/") } 1 .. 2;
    my $connected = q{document.querySelector('#state').textContent === 'connected'};
    $browser->select_tab($_)->wait_until($connected) for @tabs;
    pass 'both tabs connect';

    my $say = sub {
        my ($tab, $name, $text) = @_;
        $browser->select_tab($tab)->type('#name', $name)->type('#text', $text)->click('#send');
    };
    # Returns the messages in a tab, each as [name, text], once there are this many.
    my $messages = sub {
        my ($tab, $count) = @_;
        $browser->select_tab($tab)->wait_until("document.querySelectorAll('#messages li').length >= $count");
        return $browser->script(q{return [...document.querySelectorAll('#messages li')].map(
            (line) => [line.firstElementChild.textContent, line.lastChild.textContent])});
    };

    $say->($tabs[0], 'Ann', 'Hello');
    is_deeply $messages->($_, 1), [['Ann', 'Hello']], 'what is typed in one appears in both' for @tabs;
    $say->($tabs[1], 'Bob', 'Hi Ann');
    is_deeply $messages->($_, 2), [['Ann', 'Hello'], ['Bob', 'Hi Ann']], 'and the other way' for @tabs;

    my $long = join ' ', 1 .. 300;
    $say->($tabs[0], 'Ann', $long);
    is_deeply $messages->($tabs[1], 3)->[2], ['Ann', $long], 'a long one, which is compressed';
    like $browser->script('return socket.extensions'), qr/^permessage-deflate;.*server_no_context_takeover/,
        'as the browser has agreed to';

    my @nasty = ('<img src=x onerror="document.title=1">', '<script>document.title=2</script><b>&amp;</b>');
    $say->($tabs[0], @nasty);
    is_deeply $messages->($tabs[1], 4)->[3], \@nasty, 'HTML in name and text is shown as it was typed';
    is $browser->script(q{return document.querySelectorAll('#messages :not(li):not(li > b)').length}), 0,
        'and has become no element';
    is $browser->script('return document.title'), 'Chat', 'nor run';
    is $browser->script(q{return document.querySelector('#text').value}), '', 'the box for the message is empty again';

    for my $signal (qw(TERM KILL)) {
        $server->signal($signal)->wait;
        $browser->select_tab($_)->wait_until("!($connected)") for @tabs;
        ok $browser->script(q{return document.querySelector('#send').disabled}), "after SIG$signal nothing can be sent";
        ($server) = chat_server('--port', port_of($address));
        $browser->select_tab($_)->wait_until($connected) for @tabs;
        my $before = @{ $messages->($tabs[0], 0) };
        $say->($tabs[1], 'Bob', "back after $signal");
        is_deeply $messages->($tabs[0], $before + 1)->[-1], ['Bob', "back after $signal"], 'both reconnect to a new server';
    }
};

subtest 'a screenshot' => sub {
    my $why_not = missing(programs => ['chromium']);
    plan skip_all => $why_not if $why_not;
    my $picture = "$directory/picture.png";
    my $shoot = sub {
        my ($url, @options) = @_;
        return ExampleProgram->start('devtools-screenshot.pl', '--timeout', 120 * patience(), @options, $url, $picture,
            Browser::flags());
    };
    my $program = $shoot->('data:text/html,<body bgcolor="%23204060">', '--size', '300x200');
    is $program->wait, 0, 'is taken' or diag $program->output;
    is_deeply [picture_in($picture)], [300, 200, 0x20, 0x40, 0x60], 'has the size that was asked for, and shows the page';

    # Random colours make the picture as large as its pixels.
    my $page = 'data:text/html,' . <<~'HTML' =~ s/([^\w])/sprintf '%%%02x', ord $1/ger;
        <body style="margin: 0"><canvas width="1500" height="1500"></canvas><script>
        const context = document.querySelector('canvas').getContext('2d');
        const picture = context.createImageData(1500, 1500);
        picture.data.forEach((_, i) => { picture.data[i] = i % 4 === 3 ? 255 : 256 * Math.random(); });
        context.putImageData(picture, 0, 0);
        </script>
        HTML
    $program = $shoot->($page, '--size', '1500x1500');
    is $program->wait, 0, 'a large one, too' or diag $program->output;
    cmp_ok -s $picture, '>', 5_000_000, 'of many megabytes';

    my $nothing = free_port();
    my %mistake = (
        'no server' => [qr/ERR_CONNECTION_REFUSED$/m, "http://127.0.0.1:$nothing/"],
        'no Chromium' => [qr/^no-such-program has ended/m, 'about:blank', '--chromium', 'no-such-program'],
        'no time' => [qr/^not done within 0\.01 s$/m, 'about:blank', '--timeout', 0.01],
    );
    for my $what (sort keys %mistake) {
        my ($says, @arguments) = @{ $mistake{$what} };
        $program = $shoot->(@arguments);
        ok $program->wait_for($says), "$what: it says so";
        isnt $program->wait, 0, 'and fails';
    }
};

# Returns width and height of a PNG, and the colour of its first pixel.
sub picture_in {
    my ($path) = @_;
    open my $file, '<:raw', $path or die "$path: $!";
    my $png = do { local $/; <$file> };
    my ($width, $height) = unpack 'x16 N N', $png;
    my $compressed = '';
    for (my $at = 8; $at < length $png;) {
        my ($length, $type) = unpack "x$at N a4", $png;
        $compressed .= substr $png, $at + 8, $length if $type eq 'IDAT';
        $at += 12 + $length;
    }
    return ($width, $height, unpack 'x C3', Compress::Zlib::uncompress($compressed));
}

subtest 'chat over Redis' => sub {
    my $why_not = missing(modules => [qw(HTTP::Parser::XS AnyEvent::Redis)], programs => ['redis-server']);
    plan skip_all => $why_not if $why_not;
    my $port = free_port();
    my $start = sub {
        my $redis = ExampleProgram->run('redis-server', '--port', $port, '--bind', '127.0.0.1', '--dir', "$directory",
            '--save', '');
        $redis->wait_for(qr/Ready to accept connections/);
        return $redis;
    };
    # PUBLISH returns how many got the message.
    my $wait_subscribed = sub {
        my $probe = AnyEvent::Redis->new(port => $port);
        my $receivers = 0;
        my $again = AE::timer 0, 0.05, sub {
            $probe->publish(chat => '{}')->cb(sub { $receivers = $_[0]->recv; poke() });
        };
        wait_until('both servers to subscribe', sub { $receivers == 2 }, 60);
    };
    my $redis = $start->();
    my @servers = map { [chat_server('--redis', "redis://127.0.0.1:$port")] } 1 .. 2;
    $wait_subscribed->();

    my $exchange = sub {
        my ($what, $text) = @_;
        my @people = map { client_at("ws://$_->[1]/messages") } @servers[0, 1, 1];
        my @seen = map { recorder($_) } @people;
        $people[0]->send_json({ name => "Zo\x{eb}", text => $text });
        my $heard = sub { [grep { $_->{text} } map { $_->decoded_json } $_[0]->messages] };
        for my $seen (@seen) {
            wait_until('the message', sub { @{ $heard->($seen) } });
            is_deeply $heard->($seen), [{ name => "Zo\x{eb}", text => $text }], $what;
        }
    };
    $exchange->('a message reaches the people of both servers, once', "\x{20ac} 5");
    $redis->stop;
    $_->[0]->wait_for(qr/^Redis: /m) for @servers;
    my $person = client_at("ws://$servers[0][1]/messages");
    my $sender = AE::timer 0, 0.3, sub { $person->send_json({ name => 'Ann', text => 'lost' }) };
    $servers[0][0]->wait_for(qr/^a message is lost/m);
    undef $sender;
    is $person->state, 'open', 'while Redis is down, messages are lost, with a warning, and the servers go on';
    $redis = $start->();
    $wait_subscribed->();
    $exchange->('when it is back, so are they', 'again');
};

subtest 'behind nginx' => sub {
    my $why_not = missing(modules => ['HTTP::Parser::XS']) || Nginx::missing();
    plan skip_all => $why_not if $why_not;
    my $server = ExampleProgram->start('echo-server.pl', '--ping-interval', 0.2);
    my $silent = ExampleProgram->start('echo-server.pl');
    my %client = (ssl_ca_file => Nginx::certificate());
    my ($nginx, $url, $to) = nginx_for($server);

    my $client = client_at($url, %client, to => $to);
    my $seen = recorder($client);
    $client->send("\x{20ac}")->send_binary("\0" x 60_000);
    is_deeply $seen->wait_messages(2)->bodies, ["\xe2\x82\xac", "\0" x 60_000], 'messages go both ways through TLS';
    ok !eval { client_at($url, to => $to); 1 }, 'a client that does not know the certificate does not connect';

    my ($nginx_too, @silent) = nginx_for($silent);
    my $cut_off = client_at($silent[0], %client, to => $silent[1]);
    recorder($cut_off)->wait_finish(60);
    pass 'proxy_read_timeout cuts off who hears nothing';
    after(2);
    is $client->state, 'open', 'but not who hears pings';

    # The Close frame that answers may be lost: nginx ends both directions once one has ended.
    $client->close(4000, 'done');
    $seen->wait_finish;
    is $client->close_error, undef, 'to close is no error';

    my ($chat) = chat_server();
    my ($nginx_for_chat, $chat_url, $chat_to) = nginx_for($chat);
    ok client_at("${chat_url}messages", %client, to => $chat_to), 'a server that compares Origin with Host is content';

    $server->stop;
    like eval { client_at($url, %client, to => $to); 1 } ? '' : $@, qr/502/, 'without a server: 502';
};

sub nginx_for {
    my ($server) = @_;
    my ($port) = $server->wait_for(qr{^listening on (?:http://)?127\.0\.0\.1:(\d+)}m);
    my $nginx = Nginx->new($port, read_timeout => '1s');    # one that a test can wait for
    return ($nginx, $nginx->url, $nginx->address);
}

done_testing;
