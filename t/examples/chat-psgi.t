# Tests examples/chat/chat.psgi in Twiggy.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";
use Test::More;
use WebSocketTest;

use ExampleProgram;
use ExampleTest;
use HTTP::Tiny;
use IO::Socket::INET;

plan skip_all => 'by design: the original has no broadcast' if is_original();
my $why_not = missing(modules => ['Twiggy'], programs => ['twiggy']);
plan skip_all => $why_not if $why_not;

my $address = '127.0.0.1:' . free_port();
my $server = ExampleProgram->run($^X, (map {"-I$_"} @INC), qw(-S twiggy --listen), $address,
    ExampleProgram->path('chat/chat.psgi'));
wait_until('the server to listen',
    sub { $server->ended || IO::Socket::INET->new($address) || (after(0.05), 0)[1] }, 60);

# HTTP::Tiny blocks, which the server, a process of its own, does not mind.
sub get { HTTP::Tiny->new->get("http://$address$_[0]", { headers => $_[1] || {} }) }

sub person {
    my (%options) = @_;
    return client_at("ws://$address/messages", deflate => { threshold => 0 }, %options);
}

subtest 'pages' => sub {
    like get('/')->{content}, qr/<title>Chat/, 'the page';
    like get('/chat.js')->{content}, qr/new WebSocket/, 'and its script';
    is get('/chat.psgi')->{status}, 404, 'nothing else';
};

subtest 'who connects' => sub {
    is get('/messages')->{status}, 403, 'must come from our page';
    is get('/messages', { Origin => "http://$address" })->{status}, 400, 'and must want a WebSocket';
    my @elsewhere = (http_headers => { Origin => 'http://elsewhere.example' }, http_headers_replace => 1);
    like eval { person(@elsewhere); 1 } ? 'it lived' : $@, qr/403/, 'another page does not get one';
    ok person()->deflate, 'compression is agreed on';
};

subtest 'a message' => sub {
    my @people = map { person() } 1 .. 3;
    my @seen = map { recorder($_) } @people;
    my %said = (name => "Zo\x{eb}", text => "\x{1f600}" x 200);
    $people[0]->send_json({ %said, admin => 1 });
    is_deeply [map { ($_->wait_messages(1)->messages)[0]->decoded_json } @seen], [(\%said) x 3],
        'goes to all, without what is not ours';
    $people[1]->send('{}');
    $seen[1]->wait_finish;
    is $people[1]->close_code, 1008, 'what is none ends the connection';
    $people[2]->send_json({ name => 'Ann', text => 'still here' });
    is_deeply [map { $_->{name} } map { $_->decoded_json } $seen[0]->wait_messages(2)->messages], ["Zo\x{eb}", 'Ann'],
        'but not those of others';
};

is $server->signal('TERM')->wait & 127, 15, 'a signal ends the server';

done_testing;
