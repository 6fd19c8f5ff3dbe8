package AnyEvent::WebSocket::Native::Attach;

# Attaches a new connection to its handle.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Closing ();
use AnyEvent::WebSocket::Native::Compression ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Handle ();
use AnyEvent::WebSocket::Native::Inspection ();
use AnyEvent::WebSocket::Native::Loop ();
use AnyEvent::WebSocket::Native::Options ();

our @CARP_NOT = qw( AnyEvent::WebSocket::Native::Util Moo::Object );

# Makes a server's connection of a handle; a client's, if `masked => 1` follows. This is faster than Moo's constructor. Returns
# nothing if a program has changed the class, so that the constructor has to be called.
sub new_usual {
    my ($handle, @masked) = @_;
    my $settings = AnyEvent::WebSocket::Native::Options::usual_settings() or return;
    my $self = bless { handle => $handle, @masked }, 'AnyEvent::WebSocket::Connection';
    _attach($self, [@$settings, @masked]);
    return $self;
}

# The method BUILD of connections.
sub attach {
    my ($self, $arguments) = @_;
    _attach($self, AnyEvent::WebSocket::Native::Options::settings_of($self, $arguments));
}

# Takes the library's settings, and the names of the attributes that are set.
sub _attach {
    my ($self, $settings, @set) = @_;
    my $handle = $self->handle;
    _look_for_tls() if $handle->{tls};
    my $handle_callback = AnyEvent::WebSocket::Native::Engine::attach(
        $self, $handle, is_traced => AnyEvent::WebSocket::Native::Inspection::IS_TRACED, @$settings,
    );
    AnyEvent::WebSocket::Native::Options::take_effect($self, @set) if @set;
    return AnyEvent::WebSocket::Native::Handle::take_over($handle, $handle_callback)
        if AnyEvent::WebSocket::Native::Engine::start_if_untouched($self);
    $handle->on_error($handle_callback);
    $handle->on_eof($handle_callback);
    $handle->on_read($handle_callback);
    AnyEvent::WebSocket::Native::Loop::begin_later($self, $handle_callback);
    AnyEvent::WebSocket::Native::Closing::finish($self, 'the handle had been destroyed already')
        if ref $handle eq 'AnyEvent::Handle::destroyed';
}

my $has_looked_for_tls;

# The library uses the OpenSSL that Net::SSLeay uses. Without it, TLS works, but more slowly.
sub _look_for_tls {
    no warnings 'once';
    return if $has_looked_for_tls++;
    my ($index) = grep { $DynaLoader::dl_modules[$_] eq 'Net::SSLeay' } 0 .. $#DynaLoader::dl_modules;
    AnyEvent::WebSocket::Native::Engine::use_tls($DynaLoader::dl_shared_objects[$index]) if defined $index;
}

1;
