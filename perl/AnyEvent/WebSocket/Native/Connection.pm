package # the class of AnyEvent/WebSocket/Connection.pm, where its documentation stands
  AnyEvent::WebSocket::Connection;

use strict;
use warnings;
use AE ();
use AnyEvent::Handle ();
use AnyEvent::WebSocket::Message ();
use AnyEvent::WebSocket::Native::Backpressure ();
use AnyEvent::WebSocket::Native::Broadcast ();
use AnyEvent::WebSocket::Native::Compression ();
use AnyEvent::WebSocket::Native::Engine ();
use AnyEvent::WebSocket::Native::Formats ();
use AnyEvent::WebSocket::Native::Handle ();
use AnyEvent::WebSocket::Native::Inspection ();
use AnyEvent::WebSocket::Native::Keepalive ();
use AnyEvent::WebSocket::Native::Loop ();
use AnyEvent::WebSocket::Native::Number ();
use AnyEvent::WebSocket::Native::Options ();
use AnyEvent::WebSocket::Native::Streaming ();
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use Encode ();
use Errno ();
use Moo;
use overload ();
use Scalar::Util ();

*state = \&AnyEvent::WebSocket::Native::Engine::state;

# Programs count on the original loading this. It would reset the limits that a program has set before.
{
  no warnings 'once';
  my @limits = ($Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE, $Protocol::WebSocket::Frame::MAX_FRAGMENTS_AMOUNT);
  require Protocol::WebSocket::Frame;
  $Protocol::WebSocket::Frame::MAX_PAYLOAD_SIZE = $limits[0] if defined $limits[0];
  $Protocol::WebSocket::Frame::MAX_FRAGMENTS_AMOUNT = $limits[1] if defined $limits[1];
}

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

our $DEFAULT_CLOSE_CODE = _close_code_of_environment() || 1005;

sub _close_code_of_environment
{
  my $code = $ENV{ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE} or return;
  return $code if defined _close_code($code);
  warn "ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE is '$code', which is not a close code, and is ignored\n";
  return;
}

# A plain number, or undef if it is not a close code.
sub _close_code
{
  my $number = AnyEvent::WebSocket::Native::Number::whole($_[0]);
  return defined $number && $number >= 1000 && $number <= 4999 ? $number : undef;
}

# Never meant for the wire: the code of a Close frame without one.
use constant NO_STATUS => 1005;

use constant IS_TRACED => AnyEvent::WebSocket::Native::Util::switched_on('ANYEVENT_WEBSOCKET_TRACE');

AnyEvent::WebSocket::Native::Options::install(\&has, __PACKAGE__);

with map { "AnyEvent::WebSocket::Native::$_" } qw( Backpressure Broadcast Compression Formats Inspection Keepalive Streaming );

# The slots of the lists of callbacks, which are made when they are needed: the dispatcher looks into those of
# next_message and each_message, and for those of ping and pong. That of each_message has [callback, unregister] pairs
# once there was a message.
my %SLOT = map { $_ => "_${_}_cb" } qw( each_message next_message finish parse_error ping pong drain message_chunk );

my $has_looked_for_tls;

sub BUILD
{
  my($self, $arguments) = @_;
  AnyEvent::WebSocket::Native::Options::check($self, $arguments);
  my $handle = $self->handle;
  _look_for_tls() if !$has_looked_for_tls && $handle->{tls};
  my $hook = AnyEvent::WebSocket::Native::Engine::attach(
    $self, $handle, is_traced => IS_TRACED, masked => AnyEvent::WebSocket::Native::Options::value($self, 'masked'),
    AnyEvent::WebSocket::Native::Options::native($self),
  );
  AnyEvent::WebSocket::Native::Options::take_effect($self);
  my $deflate = AnyEvent::WebSocket::Native::Options::value($self, 'deflate');
  AnyEvent::WebSocket::Native::Compression::enable_deflate($self, $deflate, 'deflate') if $deflate;
  $handle->on_error($hook);
  $handle->on_eof($hook);
  if(AnyEvent::WebSocket::Native::Engine::start_if_untouched($self))
  {
    AnyEvent::WebSocket::Native::Handle::watch($handle, $hook);
    $handle->on_read($hook);
    return;
  }
  $handle->on_read($hook);
  AnyEvent::WebSocket::Native::Loop::begin_later($self, $hook);
  $self->_finish('the handle had been destroyed already') if ref $handle eq 'AnyEvent::Handle::destroyed';
}

# The engine uses the OpenSSL that Net::SSLeay uses. Without it, TLS works, but is slower.
sub _look_for_tls
{
  no warnings 'once';
  $has_looked_for_tls = 1;
  my($index) = grep { $DynaLoader::dl_modules[$_] eq 'Net::SSLeay' } 0 .. $#DynaLoader::dl_modules;
  AnyEvent::WebSocket::Native::Engine::use_tls($DynaLoader::dl_shared_objects[$index]) if defined $index;
}

# What the engine has to be told.
my %ON_FIRST = ( drain => sub { AnyEvent::WebSocket::Native::Backpressure::backlogged($_[0]) }, message_chunk => sub { AnyEvent::WebSocket::Native::Engine::set_streaming($_[0], 1) } );

sub on
{
  my($self, $event, $cb) = @_;
  Carp::croak("on: the callback must be a code reference")
    unless ref $cb && (Scalar::Util::reftype($cb) eq 'CODE' || Scalar::Util::blessed $cb && overload::Method($cb, '&{}'));
  my $list = _list_of($self, $event);
  push @$list, $cb;
  $ON_FIRST{$event}->($self) if $ON_FIRST{$event};
  $self->_finish_later($cb) if $event eq 'finish' && $self->{_end};
  return sub { $self->_off($event, $cb) };
}

sub _list_of
{
  my($self, $event) = @_;
  my $slot = defined $event && $SLOT{$event}
    or Carp::croak('unrecognized event: ' . (defined $event ? $event : 'undef')
      . '; the events are ' . AnyEvent::WebSocket::Native::Util::list_of(keys %SLOT));
  return $self->{$slot} ||= [];
}

# A copy, as callbacks may take themselves out.
sub _callbacks { @{ $_[0]{$SLOT{$_[1]}} || [] } }

# Each gets arguments that are its own to overwrite, as is $_.
sub _call_back
{
  my($self, $event, @arguments) = @_;
  for(my @callbacks = _callbacks($self, $event))
  {
    my @own = ($self, @arguments);
    $_->(@own);
  }
}

# The unregister subs live in the list, so they must not keep the connection alive.
sub _pair_up
{
  my($self) = @_;
  Scalar::Util::weaken(my $weak = $self);
  for my $entry (grep { ref ne 'ARRAY' } @{ $self->{_each_message_cb} })
  {
    my $id = Scalar::Util::refaddr $entry;
    $entry = [$entry, sub { $weak->_off(each_message => $id) if $weak }];
  }
}

sub _off
{
  my($self, $event, $cb) = @_;
  my $id = ref $cb ? Scalar::Util::refaddr $cb : $cb;
  my $list = _list_of($self, $event);
  @$list = grep { $id != Scalar::Util::refaddr(ref eq 'ARRAY' ? $_->[0] : $_) } @$list;
  AnyEvent::WebSocket::Native::Engine::set_streaming($self, 0) if $event eq 'message_chunk' && !@$list;
  return;
}

# send() is native; it comes here with arguments that take Perl code to read, and when there is something to complain of.
sub _send_anything
{
  my($self, $message) = @_;
  my $error = AnyEvent::WebSocket::Native::Engine::send_frame($self, _frame_of($message, 'send'));
  Carp::croak("send: $error") if defined $error;
}

# The opcode, as a number, and the payload, as octets, of what the method `name` was given.
sub _frame_of
{
  my($message, $name) = @_;
  return (1, _octets($message)) unless ref $message;
  Carp::croak("$name takes a string or an object with opcode and body")
    unless Scalar::Util::blessed $message && ($message->can('opcode') && $message->can('body') || $message->can('AUTOLOAD'));
  return (_opcode_number($message->opcode), _octets($message->body));
}

sub _opcode_number
{
  my($opcode) = @_;
  return 1 unless AnyEvent::WebSocket::Native::Number::is_given($opcode);
  my $number = AnyEvent::WebSocket::Native::Number::whole($opcode);
  return defined $number ? $number : -1;
}

sub _octets
{
  my($body) = @_;
  my $copy = defined $body ? "$body" : '';
  return utf8::is_utf8($copy) ? _encoded($copy) : $copy;
}

sub _encoded
{
  my($characters) = @_;
  # Encode may look for modules.
  local $@;
  return Encode::encode('UTF-8', $characters);
}

sub close
{
  my($self, $code, $reason) = @_;
  # An empty Close is answered with an empty one, against the default.
  $code ||= AnyEvent::WebSocket::Native::Engine::owes_close($self) ? NO_STATUS : $DEFAULT_CLOSE_CODE;
  my $number = _close_code($code);
  Carp::croak("close: $code is not a close code, which is a whole number from 1000 to 4999") unless defined $number;
  return $self unless AnyEvent::WebSocket::Native::Engine::can_close($self);
  Carp::carp("close: $number is a code that must not be sent (RFC 6455, 7.4)") if _is_forbidden($number);
  Carp::carp('close: the reason is a reference, not a string') if AnyEvent::WebSocket::Native::Util::is_bare_reference($reason);
  $reason = defined $reason ? _encoded("$reason") : '';
  my $is_bare = $number == NO_STATUS && $reason eq '';
  $self->_send_close($is_bare ? undef : $number, $reason);
  $self->_half_close;
  return $self;
}

# 1005 stands for an empty Close frame.
sub _is_forbidden { return $_[0] == 1004 || $_[0] == 1006 || $_[0] >= 1015 && $_[0] <= 2999 }

# As it is now: a program may put another one into the class.
my $SEND = \&send;

# A send that a subclass or a program has put in the place of ours gets to see this frame as well.
sub _send_close
{
  my($self, $code, $reason) = @_;
  return AnyEvent::WebSocket::Native::Engine::send_close($self, $code, $reason) if $self->can('send') == $SEND;
  my $body = defined $code ? pack('n a*', $code, $reason) : '';
  $self->send(AnyEvent::WebSocket::Message->new(opcode => 8, body => $body));
}

# The write side is shut once everything queued is out; a peer that does not shut its own in time is given up.
sub _half_close
{
  my($self) = @_;
  $self->_stop_keepalive;
  $self->handle->push_shutdown;
  # POE's timers would keep the descriptor of a handle that is destroyed, and at perl's end EV's loop may be gone.
  return if !$self->handle->{fh} || ${^GLOBAL_PHASE} eq 'DESTRUCT';
  my $timeout = AnyEvent::WebSocket::Native::Options::value($self, 'close_timeout') or return;
  Scalar::Util::weaken $self;
  $self->{_close_timer} = AE::timer $timeout, 0, sub {
    # It may still read what was sent before, for as long as the handle lingers.
    $self->handle->_error(Errno::ETIMEDOUT, 1, "the peer did not close the connection within $timeout seconds") if $self;
  };
}

# The handle is destroyed, which would keep what the peer has not read for an hour; `finish` gets the message.
sub _give_up
{
  my($self, $errno, $message) = @_;
  my $handle = $self->handle;
  $handle->{linger} = 0 if $handle->{fh};
  $handle->_error($errno, 1, $message);
}

sub _close_received
{
  my($self, $code, $reason, $is_valid) = @_;
  if(defined $code)
  {
    $self->close_code($code);
    $self->close_reason(Encode::decode('UTF-8', $reason));
  }
  return unless $is_valid;
  $self->close($code == NO_STATUS ? () : $code);
  # Our own Close may have been out already.
  $self->handle->push_shutdown;
}

sub _failed
{
  my($self) = @_;
  local $@;
  $self->_half_close;
  $self->_tell_failure;
}

sub _tell_failure
{
  my($self) = @_;
  my($error, $is_exception) = @{ AnyEvent::WebSocket::Native::Engine::take_failure($self) || return };
  $self->_trace(($is_exception ? 'a message callback died: ' : 'failed: ') . _shown($error)) if IS_TRACED;
  $self->_log_exception($error) if $is_exception && !_callbacks($self, 'parse_error');
  $self->_call_back(parse_error => $error);
}

# The original is silent then, and nobody would ever know.
sub _log_exception
{
  my($self, $error) = @_;
  my $whose = $self->peer || 'a connection';
  AE::log(error => "a message callback of $whose died, and nothing listens to parse_error: " . _shown($error));
}

# An exception object may die when it is made a string.
sub _shown
{
  my($error) = @_;
  local $@;
  my $text = eval { "$error" };
  return defined $text ? $text : 'an exception that cannot be shown';
}

# Not before the program has had its chance to register a callback for it.
sub _finish
{
  my($self, $message) = @_;
  return $self->_finish_now($message) if $self->{_finish_cb} && AnyEvent::WebSocket::Native::Loop::has_begun($self);
  # After an error the handle is about to forget what it has read.
  AnyEvent::WebSocket::Native::Engine::take_read_buffer($self);
  AnyEvent::WebSocket::Native::Loop::after_begin($self, sub { $_[0]->_finish_now($message) });
}

sub _finish_now
{
  my($self, $message) = @_;
  AnyEvent::WebSocket::Native::Engine::deliver_rest($self);
  AnyEvent::WebSocket::Native::Engine::transport_closed($self) or return;
  $self->_tell_failure;
  delete @$self{qw( _close_timer _drain_watcher _drain_wait _window_timer )};
  $self->_stop_keepalive;
  $self->handle->push_shutdown;
  $self->close_error($message) if defined $message;
  $self->{_end} = [$message];
  $self->_trace('finished: ' . (defined $message ? $message : 'end of file')) if IS_TRACED;
  $self->_call_back(finish => $message);
}

# Who registers a callback when all is over is called from the event loop.
sub _finish_later
{
  my($self, $cb) = @_;
  push @{ $self->{_late} }, $cb;
  Scalar::Util::weaken $self;
  $self->{_late_timer} ||= AnyEvent::WebSocket::Native::Loop::next_tick(sub { $self->_finish_late if $self });
}

sub _finish_late
{
  my($self) = @_;
  delete $self->{_late_timer};
  my @late = @{ delete $self->{_late} };
  for my $cb (@late)
  {
    next unless grep { Scalar::Util::refaddr $_ == Scalar::Util::refaddr $cb } _callbacks($self, 'finish');
    my @own = ($self, @{ $self->{_end} });
    $_->(@own) for $cb;
  }
}

# The peer sends pings without reading their answers.
sub _expect_drain
{
  my($self) = @_;
  my $fh = $self->handle->fh or return;
  $self->_end_with_handle;
  Scalar::Util::weaken $self;
  $self->{_drain_watcher} = AE::io $fh, 1, sub {
    delete $self->{_drain_watcher} if $self && !AnyEvent::WebSocket::Native::Engine::answer_ping($self);
  };
}

1;
