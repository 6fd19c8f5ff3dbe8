package CargoBuild;

# Builds the Rust extension with cargo; the Makefile calls build_library.

use strict;
use warnings;
use Config;
use Cwd qw(getcwd);
use File::Copy qw(copy);
use File::Path qw(make_path);
use File::Spec::Functions qw(catdir catfile rel2abs);
use JSON::PP qw(decode_json);

# The crates are part of the tarball if it was made with VENDOR=1.
my $VENDOR = 'vendor';

# Builds the library for this perl and copies it to $path. Dies with advice if that fails.
sub build_library {
    my ($cargo, $path, $mode) = @_;
    # cargo reads MAKEFLAGS, but make lends its job slots to other makes only.
    delete local @ENV{qw(MAKEFLAGS MFLAGS)};
    local $ENV{PERL} = $^X;
    local $ENV{BINDGEN_EXTRA_CLANG_ARGS} = _find_quadmath() if $Config{usequadmath};
    my $target = _target_directory($cargo);
    local $ENV{CARGO_HOME} = _cargo_home($target);
    _forget_what_is_stale($cargo, $target);
    my $built = _build($cargo) // die _advice($cargo);
    _replace($built, $path, oct $mode);
    return;
}

# Has libclang find quadmath.h, which perl.h includes, among gcc's headers. They do no harm behind libclang's own.
sub _find_quadmath {
    chomp(my $gcc_headers = _output('cc', '-print-file-name=include'));
    return join ' ', $ENV{BINDGEN_EXTRA_CLANG_ARGS} // (), "-idirafter '$gcc_headers'";
}

# Runs cargo, which reports on STDERR what it does. Returns where it put the library, or nothing if it failed.
sub _build {
    my ($cargo) = @_;
    my $library;
    open my $messages, '-|', $cargo, 'build', _options(), qw(--message-format json-render-diagnostics)
        or die "Cannot run $cargo: $!\n";
    while (my $line = <$messages>) {
        next if $line !~ /^\{/;
        my $message = decode_json($line);
        next if $message->{reason} ne 'compiler-artifact' || $message->{target}{name} ne 'anyevent_websocket';
        ($library) = grep { !/\.(?:rlib|rmeta|a)$/ } @{ $message->{filenames} };
    }
    return close $messages ? $library : undef;
}

sub _options { return (qw(--release --locked --features xs), _sources()) }

# Returns options for the source of the crates: the tarball, or wherever cargo is configured to get them.
sub _sources {
    return if !-d $VENDOR;
    my $directory = rel2abs($VENDOR) =~ s/(["\\])/\\$1/gr;
    return (
        '--offline',
        '--config', q{source.crates-io.replace-with="anyevent-websocket-vendor"},
        '--config', qq{source.anyevent-websocket-vendor.directory="$directory"},
    );
}

# Returns the directory in which cargo builds: CARGO_TARGET_DIR, build.target-dir of its configuration, or ./target.
sub _target_directory {
    my ($cargo) = @_;
    my $metadata = _output($cargo, qw(metadata --no-deps --offline --format-version 1));
    return $metadata ? decode_json($metadata)->{target_directory} : rel2abs($ENV{CARGO_TARGET_DIR} || 'target');
}

# Returns cargo's directory for downloads; cargo fails if it cannot write there. System users often have no home directory.
sub _cargo_home {
    my ($target) = @_;
    my $home = $ENV{CARGO_HOME} || _default_cargo_home();
    return $home if $ENV{CARGO_HOME} || _can_write_in($home);
    my $instead = catdir($target, 'cargo-home');
    print STDERR "cargo cannot write to $home: it uses $instead\n";
    return $instead;
}

sub _default_cargo_home { return catdir($ENV{HOME} || (getpwuid $<)[7] || '/', '.cargo') }

sub _can_write_in {
    my ($dir) = @_;
    make_path($dir, { error => \my $errors });
    use filetest 'access';    # or root seems to be able to write even where nobody can
    return !@$errors && -w $dir;
}

# Removes what cargo does not know to be out of date. libperl-sys keeps the bindings that it made for one perl, even if it is
# built for another or that one was upgraded. Of sources in two directories, cargo takes those that are older than the last
# build for built. So a file in the target directory records for which perl and from where it was built.
sub _forget_what_is_stale {
    my ($cargo, $target) = @_;
    my $note = catfile($target, 'anyevent-websocket-build.txt');
    my ($source, $perl) = (getcwd() . "\n", _perl_identity());
    my ($source_then, $perl_then) = _read($note) =~ /\A([^\n]*\n)(.*)\z/s;
    return if defined $perl_then && $perl_then eq $perl && $source_then eq $source;
    if (defined $perl_then) {
        my $is_same = $perl_then eq $perl;
        print STDERR "The build in $target was made for another perl: perl's bindings are made anew\n" if !$is_same;
        _clean($cargo, $target, 'anyevent-websocket', $is_same ? () : 'libperl-sys');
    }
    make_path($target);
    open my $file, '>', $note or die "Cannot write $note: $!\n";
    print {$file} $source, $perl;
    close $file or die "Cannot write $note: $!\n";
    return;
}

# Cleans each profile and target separately, because cargo clean takes one at a time.
sub _clean {
    my ($cargo, $target, @packages) = @_;
    for my $profile (glob "'$target'/{release,debug} '$target'/*-*-*/{release,debug}") {
        -d $profile or next;
        my ($triple, $name) = $profile =~ m{^\Q$target\E/(?:([^/]+)/)?(release|debug)$} or next;
        my @what = ($name eq 'release' ? '--release' : (), defined $triple ? ('--target', $triple) : ());
        system($cargo, qw(clean --quiet --locked), @what, _sources(), map { ('--package', $_) } @packages) == 0
            or die "Cannot remove what is out of date. Remove it yourself: rm -rf '$target'\n";
    }
    return;
}

# Returns what the bindings depend on: an upgrade of perl may keep its version, so this includes the dates of its headers.
sub _perl_identity {
    my @files = (catfile($Config{archlibexp}, 'CORE', 'perl.h'), catfile($Config{archlibexp}, 'Config_heavy.pl'));
    return join '', map { "$_\n" } $^X, $Config{version}, $Config{archname},
        map { join ' ', $_, map { $_ // 'none' } (stat $_)[7, 9] } @files;
}

# Replaces the library instead of overwriting it: a process may have the old one mapped.
sub _replace {
    my ($from, $to, $mode) = @_;
    my $new = "$to.new";
    copy($from, $new) or die "Cannot copy $from to $new: $!\n";
    chmod $mode, $new or die "Cannot chmod $new: $!\n";
    rename $new, $to or die "Cannot rename $new to $to: $!\n";
    return;
}

# Returns advice about a failed build, as far as the cause can be found here.
sub _advice {
    my ($cargo) = @_;
    my @advice = 'cargo could not build the library; the reason stands above.';
    my $home = $ENV{CARGO_HOME};
    if (!_can_write_in($home)) {
        push @advice, "cargo cannot write to $home: set CARGO_HOME to a directory that it can write to.";
    }
    elsif (!-d $VENDOR && !_output($cargo, qw(tree --offline --locked --features xs --edges), 'normal,build')) {
        push @advice, 'It could not download all crates that it needs. Without a network, build from a tarball that contains '
            . 'them: see "Without a network" in INSTALL.md.';
    }
    return join '', map { "$_\n" } @advice;
}

sub _output {
    my (@command) = @_;
    open my $stderr, '>&', \*STDERR or return '';
    open STDERR, '>', '/dev/null';
    my $pid = open my $from, '-|', @command;
    open STDERR, '>&', $stderr;
    return '' if !$pid;
    my $output = do { local $/; <$from> } // '';
    return close $from ? $output : '';
}

sub _read {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    local $/;
    return <$file> // '';
}

1;
