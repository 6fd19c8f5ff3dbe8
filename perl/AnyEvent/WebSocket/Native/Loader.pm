package AnyEvent::WebSocket::Native::Loader;

# Loads the classes, either ours or the originals that they shadow, and the compiled library.

use strict;
use warnings;
use AnyEvent::WebSocket::Native::Util ();
use Carp ();
use File::Spec ();

our @CARP_NOT = 'AnyEvent::WebSocket::Native::Util';

# Returns the directory in which this file and the classes are installed.
sub directory { return File::Spec->rel2abs(__FILE__) =~ s{/AnyEvent/WebSocket/Native/Loader\.pm\z}{}r }

# Loads a class, for instance 'Connection': ours, or the one that ours shadows. Returns 'rust' for ours and 'pp' for the
# other.
sub load_class {
    my ($name, $own_path) = @_;
    if ($ENV{ANYEVENT_WEBSOCKET_PP}) {
        load_shadowed("AnyEvent/WebSocket/$name.pm", $own_path);
        return 'pp';
    }
    require "AnyEvent/WebSocket/Native/$name.pm";
    return 'rust';
}

# Loads the first file of that name in @INC that is not ours.
sub load_shadowed {
    my ($file, $own_path) = @_;
    my $own = File::Spec->rel2abs($own_path);
    for my $dir (grep { !ref } @INC) {
        my $path = "$dir/$file";
        next if !-f $path || is_ours($path, $own);
        $INC{$file} = $path;
        return do_file($path);
    }
    my $distribution = $file =~ /Server/ ? 'AnyEvent::WebSocket::Server' : 'AnyEvent::WebSocket::Client';
    Carp::croak("ANYEVENT_WEBSOCKET_PP is set, but there is no other $file in \@INC: "
            . "install $distribution, or unset the variable");
}

# A text that is in the code of our files, and not in those of the original.
my $MARK = 'use AnyEvent::WebSocket::Native';

# Returns true if the file is ours; `own` is the path of ours. A checkout contains ours twice: the source and the build.
sub is_ours {
    my ($path, $own) = @_;
    return 1 if File::Spec->rel2abs($path) eq $own;
    open my $fh, '<', $path or return 0;
    local $/;
    return scalar(<$fh> =~ /^$MARK/m);
}

# Runs a file, and returns its value. Croaks if that is false, or the file cannot be run.
sub do_file {
    my ($path) = @_;
    local $@;
    my $result = do File::Spec->rel2abs($path);
    return $result if $result;
    my $why = $@ || $!;
    Carp::croak("cannot load $path: $why");
}

my $is_loaded;

# Loads the compiled half of the module, and croaks if it is not of the same version.
sub load_library {
    my ($module, $version) = @_;
    return if $is_loaded;
    require XSLoader;
    eval { XSLoader::load($module); 1 }
        or Carp::croak("the compiled half of $module cannot be "
            . "loaded: build it with 'perl Makefile.PL && make && make install' for this perl ($^X), "
            . "or set ANYEVENT_WEBSOCKET_PP=1 to use the original in Perl ($@)");
    my $library = $module->can('library_version')->();
    Carp::croak("the compiled half of $module is version $library, but its Perl half is $version: "
            . "build and install both again with 'perl Makefile.PL && make && make install'")
        if version->parse($library) != version->parse($version);
    $is_loaded = 1;
}

1;
