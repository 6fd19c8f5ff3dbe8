package AnyEvent::WebSocket::Native::Handshake::NewHandle;

# Makes an AnyEvent::Handle as its constructor does, in less than half the time.

use strict;
use warnings;
use AE ();
use AnyEvent::Handle ();
use AnyEvent::WebSocket::Native::Engine ();

# The methods that make a handle without options.
my @METHODS = qw( new oobinline _drain_wbuf _start );

# The slots that hold a time, which differs from handle to handle.
my @TIMES = qw( _activity _ractivity _wactivity );

# The other slots that the constructor adds, with their values; empty if a program has replaced one of the methods, or this version
# of AnyEvent makes handles in another way. They are valid for this generation of the class.
my ($generation, %slots) = (0);

# The constructor calls this, too.
my $unblock = \&AnyEvent::fh_unblock;

sub _generation { return AnyEvent::WebSocket::Native::Engine::class_generation('AnyEvent::Handle') }

# Returns what AnyEvent::Handle->new returns for these two arguments.
sub of {
    my ($fh, $on_error) = @_;
    return _first($fh, $on_error) if $generation != _generation();
    return AnyEvent::Handle->new(fh => $fh, on_error => $on_error)
        if !%slots || \&AnyEvent::fh_unblock != $unblock || !AnyEvent::WebSocket::Native::Engine::prepare_stream($fh);
    my $now = AE::now;
    return bless { %slots, fh => $fh, on_error => $on_error, _activity => $now, _ractivity => $now, _wactivity => $now },
        'AnyEvent::Handle';
}

# Makes a handle with the constructor, and looks at what that has done.
sub _first {
    my ($fh, $on_error) = @_;
    my $handle = AnyEvent::Handle->new(fh => $fh, on_error => $on_error) or return;
    my %left = %$handle;
    delete @left{qw( fh on_error )};
    my @times = delete @left{@TIMES};
    my $is_known = AnyEvent::WebSocket::Native::Engine::has_stock_methods_named($handle, @METHODS)
        && !grep { !defined $_ || ref $_ } @times, values %left;
    %slots = $is_known ? %left : ();
    # Looking up methods may have changed it.
    $generation = _generation();
    return $handle;
}

1;
