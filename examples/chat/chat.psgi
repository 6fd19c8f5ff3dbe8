# The chat as a PSGI application, for a PSGI server that runs on AnyEvent: Twiggy (Debian package twiggy). The page is the one
# of chat-server.pl, which also speaks to other processes.
#
#   twiggy --listen 127.0.0.1:5000 examples/chat/chat.psgi
#
# Then open http://127.0.0.1:5000/. Such an application can be one of several that Plack::Builder mounts.
use strict;
use warnings;

use AnyEvent::WebSocket::Connection;
use AnyEvent::WebSocket::Server;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP ();

my ($max_name, $max_text, $max_people) = (40, 2000, 1000);

# The options behind the first are for each connection. Without context takeover, a message to everybody is compressed once.
my $server = AnyEvent::WebSocket::Server->new(
    deflate             => { server_no_context_takeover => 1 },
    max_message_size    => 4 * ($max_name + $max_text) + 1000,
    max_buffered_amount => 2 << 20,
    max_control_rate    => 10,
    ping_interval       => 25,
    idle_timeout        => 60,
    close_timeout       => 5,
);

my $here = dirname(abs_path(__FILE__));
my %pages = (
    '/'         => page('index.html', 'text/html'),
    '/chat.js'  => page('chat.js', 'text/javascript'),
    '/chat.css' => page('chat.css', 'text/css'),
);

sub page {
    my ($name, $type) = @_;
    open my $file, '<:raw', "$here/$name" or die "$here/$name: $!\n";
    my $content = do { local $/; <$file> };
    return [200, ['Content-Type' => "$type; charset=utf-8", 'Content-Length' => length $content], [$content]];
}

sub error_response { [$_[0], ['Content-Type' => 'text/plain'], ["$_[1]\n"]] }

# The connections, by their addresses.
my %people;

sub upgrade {
    my ($env) = @_;
    return error_response(503, 'too many people') if keys %people >= $max_people;

    # A page of another site could otherwise connect, with the cookies that the browser has for this one.
    my ($page_host) = ($env->{HTTP_ORIGIN} // '') =~ m{^https?://(.+)$};
    return error_response(403, 'not from our page') if lc($page_host // '') ne lc($env->{HTTP_HOST} // '');

    # The socket is the connection's from now on. So $respond is called only if there is none.
    return sub {
        my ($respond) = @_;
        $server->establish_psgi($env)->cb(sub {
            my ($connection) = eval { $_[0]->recv } or return $respond->(error_response(400, 'not for a WebSocket'));
            serve($connection);
        });
    };
}

sub serve {
    my ($connection) = @_;
    $people{ 0 + $connection } = $connection;    # a connection that nobody holds is closed
    $connection->on(finish => sub { delete $people{ 0 + $_[0] } });
    $connection->on(each_message => sub {
        my ($connection, $message) = @_;
        my $said = checked($message) // return $connection->close(1008, 'not understood');

        # Those who read too slowly miss the message; it does not pile up here.
        AnyEvent::WebSocket::Connection->broadcast([values %people], $said, max_buffered_amount => 1 << 20);
    });
}

# Returns what goes to everybody: nothing of the message but two strings of bounded length.
my $json = JSON::PP->new->utf8->canonical;

sub checked {
    my ($message) = @_;
    my $said = eval { $message->decoded_json };
    return if ref $said ne 'HASH';
    my ($name, $text) = @$said{qw(name text)};
    return if grep { !defined || ref || !length } $name, $text;
    return if length $name > $max_name || length $text > $max_text;
    return $json->encode({ name => "$name", text => "$text" });
}

# Returns the application.
sub {
    my ($env) = @_;
    return upgrade($env) if $env->{PATH_INFO} eq '/messages';
    return $pages{ $env->{PATH_INFO} } // error_response(404, 'no such page');
};
