package AnyEvent::WebSocket::Native;

use strict;
use warnings;
use Carp ();
use File::Spec ();

our $VERSION = '1.000';

# Loads the class named by its file, for instance 'Connection': ours, or the one that ours shadows.
sub load_class
{
  my($name, $own_path) = @_;
  if($ENV{ANYEVENT_WEBSOCKET_PP})
  {
    load_shadowed("AnyEvent/WebSocket/$name.pm", $own_path);
  }
  else
  {
    require "AnyEvent/WebSocket/Native/$name.pm"; ## no critic
  }
}

sub load_shadowed
{
  my($file, $own_path) = @_;
  my $own = File::Spec->rel2abs($own_path);
  for my $dir (grep { !ref } @INC)
  {
    my $path = "$dir/$file";
    next if !-f $path || _is_ours($path, $own);
    $INC{$file} = $path;
    return do_file($path);
  }
  Carp::croak("ANYEVENT_WEBSOCKET_PP is set, but there is no other $file in \@INC: "
    . 'install AnyEvent::WebSocket::Client, or unset the variable');
}

# A checkout has ours twice: as built and as written.
sub _is_ours
{
  my($path, $own) = @_;
  return 1 if File::Spec->rel2abs($path) eq $own;
  open my $fh, '<', $path or return 0;
  local $/;
  return scalar(<$fh> =~ /^use AnyEvent::WebSocket::Native/m);
}

sub do_file
{
  my($path) = @_;
  local $@;
  my $result = do File::Spec->rel2abs($path);
  return $result if $result;
  my $why = $@ || $!;
  Carp::croak("cannot load $path: $why");
}

my $is_loaded;

sub load_library
{
  return if $is_loaded;
  require XSLoader;
  eval { XSLoader::load(__PACKAGE__); 1 } or Carp::croak("the compiled half of AnyEvent::WebSocket::Native cannot be "
    . "loaded: build it with 'perl Makefile.PL && make && make install' for this perl ($^X), "
    . "or set ANYEVENT_WEBSOCKET_PP=1 to use the original in Perl ($@)");
  my $library = library_version();
  Carp::croak("the compiled half of AnyEvent::WebSocket::Native is version $library, but its Perl half is $VERSION: "
    . "build and install both again with 'perl Makefile.PL && make && make install'")
    if version->parse($library) != version->parse($VERSION);
  $is_loaded = 1;
}

1;
