package Browser;

# A headless Chromium, through chromedriver's HTTP interface (WebDriver), with core modules only.
#
#   my $browser = Browser->new;
#   my $tab = $browser->open_tab($url);                 # and select it
#   $browser->select_tab($tab);
#   $browser->type('#name', 'text')->click('#send');
#   my $value = $browser->script('return document.title');
#   $browser->wait_until("document.title === 'x'");     # awaits a change of the page that makes it true
#
# All calls block, so servers must be processes of their own. A call that the browser refuses dies.

use strict;
use warnings;
use Carp qw(croak);
use ExampleProgram;
use File::Temp;
use HTTP::Tiny;
use JSON::PP;
use WebSocketTest ();

use constant ELEMENT => 'element-6066-11e4-a52e-4f735466cecf';    # the key that the specification gives element ids

our $TIMEOUT = 60 * WebSocketTest::patience();

sub new {
    my ($class) = @_;
    my ($driver, $port) = _start_driver();
    my $profile = File::Temp->newdir;
    my $self = bless {
        driver => $driver, profile => $profile, url => "http://127.0.0.1:$port",
        http => HTTP::Tiny->new(timeout => 2 * $TIMEOUT),
    }, $class;
    $self->_start_session;
    return $self;
}

# Starts chromedriver, which takes a port that is free on IPv6, and gives up if something else has it on IPv4.
sub _start_driver {
    for my $attempts_left (reverse 0 .. 9) {
        my $driver = ExampleProgram->run(qw(nice -n 19 chromedriver --port=0));
        my ($port) = eval { $driver->wait_for(qr/started successfully on port (\d+)/) };
        return ($driver, $port) if $port;
        die $@ if !$attempts_left || $driver->output !~ /Address already in use/;
    }
}

# As root, and in containers, Chromium has neither its sandbox nor much of /dev/shm.
sub flags {
    return qw(--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-proxy-server --disable-sync
        --disable-background-networking --no-first-run);
}

sub _start_session {
    my ($self) = @_;
    my $options = { args => [flags(), "--user-data-dir=$self->{profile}"] };
    my $session = $self->_call(POST => '/session',
        { capabilities => { alwaysMatch => { browserName => 'chrome', 'goog:chromeOptions' => $options } } });
    $self->{url} .= "/session/$session->{sessionId}";
    $self->_post('/timeouts', { script => 1000 * $TIMEOUT });
}

sub _call {
    my ($self, $method, $path, $data) = @_;
    my %options = $data ? (content => encode_json($data), headers => { 'Content-Type' => 'application/json' }) : ();
    my $response = $self->{http}->request($method, "$self->{url}$path", \%options);
    my $value = eval { decode_json($response->{content})->{value} };
    croak "$method $path: " . ($value->{message} // $response->{content}) unless $response->{success};
    return $value;
}

sub _post { my ($self, $path, $data) = @_; return $self->_call(POST => $path, $data) }

sub open_tab {
    my ($self, $url) = @_;
    my $tab = $self->_post('/window/new', { type => 'tab' })->{handle};
    $self->select_tab($tab)->_post('/url', { url => $url });
    return $tab;
}

sub select_tab {
    my ($self, $tab) = @_;
    $self->_post('/window', { handle => $tab });
    return $self;
}

sub _element {
    my ($self, $selector) = @_;
    return $self->_post('/element', { using => 'css selector', value => $selector })->{ +ELEMENT };
}

sub type {
    my ($self, $selector, $text) = @_;
    my $path = '/element/' . $self->_element($selector);
    $self->_post("$path/clear", {});
    $self->_post("$path/value", { text => $text });
    return $self;
}

sub click {
    my ($self, $selector) = @_;
    $self->_post('/element/' . $self->_element($selector) . '/click', {});
    return $self;
}

sub script {
    my ($self, $script) = @_;
    return $self->_post('/execute/sync', { script => $script, args => [] });
}

sub wait_until {
    my ($self, $condition) = @_;
    my $script = <<"SCRIPT";
        const done = arguments[arguments.length - 1];
        const look = () => ($condition) && (observer.disconnect(), done(true));
        const observer = new MutationObserver(look);
        observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
        look();
SCRIPT
    eval { $self->_post('/execute/async', { script => $script, args => [] }); 1 }
        or croak "waiting for $condition: $@\nThe page: " . $self->script('return document.body.innerText');
    return $self;
}

sub DESTROY {
    my ($self) = @_;
    local ($@, $?, $!);
    eval { $self->_call(DELETE => '') };
    eval { $self->{driver}->stop } if $self->{driver};
}

1;
