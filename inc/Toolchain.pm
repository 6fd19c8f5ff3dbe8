package Toolchain;

# Looks for what building the Rust extension needs.

use strict;
use warnings;
use Config;
use File::Spec::Functions qw(catfile path);

# Returns what is missing, each as a phrase that names its Debian package.
sub missing {
    my ($rust_version) = @_;
    return (
        _rust($rust_version),
        (find_program($Config{make}) ? () : "$Config{make} (Debian package make)"),
        _c_compiler(),
        (-e catfile($Config{archlibexp}, 'CORE', 'perl.h') ? ()
            : "perl's headers for $^X (Debian package libperl-dev)"),
        (eval { require ExtUtils::Embed; 1 } ? () : "perl's module ExtUtils::Embed"),
        (_find_libclang() ? () : 'libclang (Debian package libclang-dev)'),
    );
}

# Finds cargo, even where rustup puts it: sudo and cron drop that from PATH.
sub find_cargo {
    my $home = $ENV{CARGO_HOME} || ($ENV{HOME} ? catfile($ENV{HOME}, '.cargo') : '');
    return $ENV{CARGO} || find_program('cargo') || ($home && _executable(catfile($home, 'bin', 'cargo')));
}

sub find_program {
    my ($name) = @_;
    return _executable($name) if $name =~ m{/};
    return (grep { defined } map { _executable(catfile($_, $name)) } path())[0];
}

sub _executable { return -x $_[0] && !-d _ ? $_[0] : undef }

sub _rust {
    my ($wanted) = @_;
    my $where = "Debian package cargo where it is $wanted or newer, or else cargo-web; elsewhere rustup";
    my $cargo = find_cargo() or return "cargo, of Rust $wanted or newer ($where)";
    my $version = _output($cargo, '--version');
    my ($found) = $version =~ /^cargo (\d+\.\d+)/ or return "a working cargo ($cargo --version fails; $where)";
    return _newer_or_same($found, $wanted) ? () : "Rust $wanted or newer, since $cargo is of $found ($where)";
}

sub _newer_or_same {
    my ($found, $wanted) = map { [split /\./] } @_;
    return $found->[0] <=> $wanted->[0] ? $found->[0] > $wanted->[0] : $found->[1] >= $wanted->[1];
}

# Returns the missing C compilers: rustc links with cc whatever CC is; the cc crate compiles with CC.
sub _c_compiler {
    my ($cc) = split ' ', $ENV{CC} || 'cc';
    my @missing = grep { !find_program($_) } $cc eq 'cc' ? 'cc' : ('cc', $cc);
    return map { "the C compiler $_ (Debian package gcc)" } @missing;
}

# Finds libclang where the crate clang-sys does: only in LIBCLANG_PATH (a file or a directory) if that is set.
sub _find_libclang {
    my $given = $ENV{LIBCLANG_PATH};
    return _has_libclang($given) || -f $given if defined $given;

    my ($prefix) = split /\n/, _output($ENV{LLVM_CONFIG_PATH} || 'llvm-config', '--prefix');
    my @dirs = map { split /:/, $_ // '' } @ENV{qw(LD_LIBRARY_PATH LIBRARY_PATH)};
    push @dirs, map { "$prefix/$_" } qw(lib lib64) if $prefix;
    push @dirs, map { glob } qw(
        /usr/local/llvm*/lib* /usr/local/lib*/*/* /usr/local/lib*/* /usr/local/lib*
        /usr/lib*/*/* /usr/lib*/* /usr/lib*
        /Library/Developer/CommandLineTools/usr/lib /usr/local/opt/llvm*/lib /usr/local/opt/llvm*/lib/llvm*/lib
        /Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib);
    return !!grep { _has_libclang($_) } @dirs;
}

sub _has_libclang {
    my ($dir) = @_;
    opendir my $handle, $dir or return 0;
    # libclang-cpp is another library.
    return !!grep { /^libclang(?:-(?!cpp)[^\/]*)?\.(?:so(?:\..*)?|dylib)$/ && -e "$dir/$_" } readdir $handle;
}

sub _output {
    my ($name, @arguments) = @_;
    my $program = find_program($name) or return '';
    return `"$program" @arguments 2>/dev/null` // '';
}

1;
