package Distribution;

# Helpers for tests of the distribution: they pack it, run commands, and look at what these leave.

use strict;
use warnings;
use Cwd qw(abs_path getcwd);
use Digest::SHA;
use Exporter 'import';
use ExtUtils::Manifest qw(manicopy manifind maniskip);
use File::Basename qw(dirname);
use File::Find qw(find);
use Test::More;

our @EXPORT_OK = qw(root run_ok make_tarball unpack_tarball files_below digests slurp spurt);

my $root = dirname(dirname(dirname(abs_path(__FILE__))));

# Returns the path of the checkout.
sub root { return $root }

# A user's settings must not change what is tested.
delete @ENV{qw(PERL5LIB PERL_MM_OPT PERL_MB_OPT PERL_LOCAL_LIB_ROOT ANYEVENT_WEBSOCKET_PP MAKEFLAGS)};

# Runs a command and returns its output; if it fails, the test fails.
sub run_ok {
    my ($command, $name) = @_;
    my $output = `$command 2>&1`;
    is($?, 0, $name // $command) or diag $output;
    return $output;
}

# Makes the tarball from a copy of the checkout in $scratch, and returns its path.
sub make_tarball {
    my ($scratch, @arguments) = @_;
    my $here = getcwd();
    chdir $root or die "$root: $!";
    my $skipped = maniskip("$root/MANIFEST.SKIP");
    local ($ExtUtils::Manifest::Quiet, $ExtUtils::Manifest::Verbose) = (1, 0);
    manicopy({ map { $_ => '' } grep { !$skipped->($_) } keys %{ manifind() } }, "$scratch/checkout", 'cp');
    chdir "$scratch/checkout" or die "$scratch/checkout: $!";
    run_ok("$^X Makefile.PL");
    run_ok(join ' ', 'make dist', @arguments);
    my ($tarball) = sort { -M $a <=> -M $b } glob "$scratch/checkout/*.tar.gz";
    chdir $here or die "$here: $!";
    return $tarball;
}

# Unpacks the tarball below $where, and returns its directory.
sub unpack_tarball {
    my ($tarball, $where) = @_;
    run_ok("tar xzf $tarball -C $where");
    my ($name) = $tarball =~ m{([^/]+)\.tar\.gz$};
    return "$where/$name";
}

sub files_below {
    my ($dir) = @_;
    my @found;
    find({ no_chdir => 1, wanted => sub { push @found, substr $_, 1 + length $dir if -f } }, $dir);
    return sort @found;
}

sub digests {
    my ($dir) = @_;
    return { map { $_ => Digest::SHA->new(1)->addfile("$dir/$_")->hexdigest } files_below($dir) };
}

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    local $/;
    return <$file> // '';
}

sub spurt {
    my ($path, $content, $mode) = @_;
    open my $file, '>', $path or die "$path: $!";
    print {$file} $content;
    close $file or die "$path: $!";
    chmod $mode, $path or die "$path: $!" if defined $mode;
    return $path;
}

1;
