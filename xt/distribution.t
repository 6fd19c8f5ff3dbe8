use strict;
use warnings;

use Test::More;

# Tests the distribution as people meet it: packed, unpacked, built, installed over an original, uninstalled. It works in a
# scratch directory, but builds in the checkout's target directory, to save the minutes that perl's bindings take.
plan skip_all => 'set AUTHOR_TESTING=1 to run this' if !$ENV{AUTHOR_TESTING};

use Config;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Path qw(make_path);
use File::Temp qw(tempdir);

use lib dirname(abs_path(__FILE__)) . '/lib';
use Distribution qw(digests files_below make_tarball root run_ok spurt unpack_tarball);

my $root    = root();
my $scratch = tempdir(CLEANUP => 1);
my $base    = "$scratch/base";
my $lib     = "$base/lib/perl5";
my $so      = "auto/AnyEvent/WebSocket/Native/Native.$Config{dlext}";
my $largest = 1_500_000;

$ENV{CARGO_TARGET_DIR} //= "$root/target";

# All files and directories that may be at the top.
my @packed = qw(
    ARCHITECTURE.md CONTRIBUTING.md Cargo.lock Cargo.toml Changes INSTALL.md LICENSE MANIFEST.SKIP Makefile.PL README.md SECURITY.md
    bench benches build.rs deny.toml examples fuzz inc perl rustfmt.toml script src t tests xt
);
my @not_packed = qw(.ci .gitignore .perltidyrc);
my @generated = qw(MANIFEST META.json META.yml);

# Returns the file from which an application would load it.
sub loaded_connection {
    my $print = 'print $INC{"AnyEvent/WebSocket/Connection.pm"}';
    return `PERL5LIB=$lib $^X -MAnyEvent::WebSocket::Connection -e '$print' 2>&1`;
}

# Returns what perldoc would show: it looks for a module where perl does.
sub perldoc {
    my ($module) = @_;
    return run_ok("PERL5LIB=$lib $^X -MPod::Perldoc -e 'exit(Pod::Perldoc->run)' -- -U -T -u $module", "perldoc $module");
}

# Returns the first parts of these paths, each once.
sub at_the_top {
    my %seen = map { m{^([^/]+)} ? ($1 => 1) : () } @_;
    return [sort keys %seen];
}

chdir $root or die $!;
subtest 'what is in the repository' => sub {
    plan skip_all => 'this is not a checkout of git' if !-e '.git';
    my @files = split /\0/, run_ok('git ls-files -z');
    is_deeply(at_the_top(@files), [sort @packed, @not_packed], 'nothing else lies at the top');
    # A shell that runs a Perl program by its bare name creates files from what it takes for redirections.
    my @misnamed = grep { !/\.(?:pl|t)$/ && first_line($_) =~ /^#!.*\bperl\b/ } grep { -f } @files;
    is("@misnamed", '', 'programs in Perl have names that say so');
};

sub first_line {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    return scalar(<$file>) // '';
}

subtest 'make dist' => sub {
    my $tarball = make_tarball($scratch);
    like($tarball, qr/\/AnyEvent-WebSocket-Native-[0-9._]+\.tar\.gz$/, 'the tarball') or return;
    chdir unpack_tarball($tarball, $scratch) or die $!;
    ok(-f $_, "$_ is in it") for qw(
        Cargo.lock Cargo.toml build.rs META.json MANIFEST README.md src/xs/glue/calls.c inc/CargoBuild.pm inc/Toolchain.pm LICENSE
    );
    my @foreign = grep { m{(?:^|/)(?:target|blib|vendor|\.git)/} } files_below('.');
    is("@foreign", '', 'nothing built is in it');
    is_deeply(at_the_top(files_below('.')), [sort @packed, @generated], 'nothing else lies at the top');
};

subtest 'make' => sub {
    my @before = files_below('.');
    # This installs as local::lib does, and with -j4 tests the dependencies between the rules.
    run_ok("PERL_MM_OPT='INSTALL_BASE=$base' $^X Makefile.PL");
    run_ok('make -j4');
    ok(-x "blib/arch/$so", 'the library is built');
    cmp_ok(-s "blib/arch/$so", '<', $largest, 'without debug information');
    unlike(run_ok("readelf -d blib/arch/$so", 'readelf'), qr/NEEDED.*libperl/, 'and does not need libperl');

    unlike(run_ok('make', 'make, again'), qr/cargo|^cp /m, 'the second make builds nothing');
    for my $source ('src/lib.rs', 'src/xs/glue/calls.c', 'build.rs', 'Cargo.toml', 'Cargo.lock') {
        my $mtime = (stat $source)[9];
        utime undef, undef, $source;
        like(`make -n`, qr/cargo/, "a newer $source is built");
        utime $mtime, $mtime, $source;
    }
    run_ok('make clean');
    ok(!-e 'blib', 'make clean removes blib');
    unlink 'Makefile.old';
    is_deeply([files_below('.')], \@before, 'and everything else that was made');
};

subtest 'install, uninstall' => sub {
    my ($original) = grep { !m{^\Q$root\E/} && -e "$_/AnyEvent/WebSocket/Client.pm" } @INC;
    plan skip_all => 'AnyEvent::WebSocket::Client is not installed' if !$original;
    make_path("$lib/AnyEvent/WebSocket", "$base/man/man3");
    for my $class (qw(Client Connection Message)) {
        copy("$original/AnyEvent/WebSocket/$class.pm", "$lib/AnyEvent/WebSocket/$class.pm") or die $!;
        open my $page, '>', "$base/man/man3/AnyEvent::WebSocket::$class.$Config{man3ext}" or die $!;
        print {$page} "the original's page\n";
        close $page or die $!;
    }
    my $before = digests($base);
    is(loaded_connection(), "$lib/AnyEvent/WebSocket/Connection.pm", 'the original is there');

    run_ok("$^X Makefile.PL INSTALL_BASE=$base");
    run_ok('make -j4');
    # UNINST=1, a common setting of cpan, asks to delete the shadowed files.
    run_ok('make install UNINST=1');
    is(loaded_connection(), "$lib/$Config{archname}/AnyEvent/WebSocket/Connection.pm", 'installed: ours is loaded');
    my $installed = digests($base);
    is_deeply({ map { $_ => $installed->{$_} } keys %$before }, $before, 'every file of the original is as it was');
    my @pages = map { m{^man/man3/AnyEvent::WebSocket::([\w:]+)\.} ? $1 : () } grep { !$before->{$_} } sort keys %$installed;
    is("@pages", 'Blocking Deflate Deflate::Client Native Native::Client Native::Connection Native::Manual Native::Message Native::Server Reconnecting', 'our man pages are there');
    like(perldoc('AnyEvent::WebSocket::Connection'), qr/Not in the original/, 'perldoc shows our page');
    like(perldoc('AnyEvent::WebSocket::Native::Manual'), qr/^=head1 Back-pressure$/m, 'and the manual');

    run_ok('make install', 'make install, again');
    run_ok('make uninstall');
    is(loaded_connection(), "$lib/AnyEvent/WebSocket/Connection.pm", 'uninstalled: the original is back');
    my $after = digests($base);
    delete $after->{$_} for grep { /perllocal\.pod$/ } keys %$after;
    is_deeply($after, $before, 'and nothing of ours is left');

    $before = digests($base);
    run_ok("make install DESTDIR=$scratch/dest");
    is_deeply(digests($base), $before, 'with DESTDIR: nothing goes to the real place');
    ok(-x "$scratch/dest$lib/$Config{archname}/$so", 'but below it');
};

subtest 'what is missing' => sub {
    my $bin = "$scratch/bin";
    make_path($bin);
    my $with = sub {
        my ($env, @programs) = @_;
        unlink glob "$bin/*";
        for my $program (@programs) {
            my ($path) = grep { -x } map { "$_/$program" } split /:/, $ENV{PATH};
            symlink $path, "$bin/$program" if $path;
        }
        open my $stale, '>', 'Makefile';
        # CARGO_HOME is set because cargo is looked for there too; rustup's cargo finds its toolchain without it.
        my $output = `PATH=$bin CARGO_HOME=/nonexistent $env $^X Makefile.PL 2>&1 >/dev/null`;
        is($?, 0, 'exit status 0');
        ok(!-e 'Makefile', 'no Makefile');
        is(scalar(() = $output =~ /\n/g), 1, 'one line on STDERR');
        return $output;
    };
    my @all = qw(sh cargo rustc make cc gcc llvm-config);
    my $old_cargo = spurt("$scratch/old-cargo", "#!/bin/sh\necho cargo 1.63.0\n", 0755);
    my $without = sub { my ($gone) = @_; return grep { $_ ne $gone } @all };
    my @cases = (
        ['cargo',    qr/missing cargo, of Rust 1\.\d+ or newer \(Debian package cargo/, '', $without->('cargo')],
        ['a newer cargo', qr/missing Rust 1\.\d+ or newer, since .*old-cargo is of 1\.63 /, "CARGO=$old_cargo", @all],
        ['make',     qr/missing make \(Debian package make\)\.$/, '', $without->('make')],
        ['cc',       qr/missing the C compiler cc \(Debian package gcc\)\.$/, '', $without->('cc')],
        ['libclang', qr/missing libclang \(Debian package libclang-dev\)\.$/, 'LIBCLANG_PATH=/nonexistent', @all],
        ['perl.h', qr/missing perl's headers .*\(Debian package libperl-dev\)\.$/, without_headers(), @all],
        ['several, in one sentence', qr/missing cargo.* and the C compiler/, '', 'sh'],
    );
    for my $case (@cases) {
        my ($name, $sentence, @how) = @$case;
        like($with->(@how), $sentence, $name);
    }
};

subtest 'another operating system' => sub {
    my $output = `@{[ before_all(q{$^O = 'MSWin32'}) ]} $^X Makefile.PL 2>&1`;
    isnt($?, 0, 'fails');
    like($output, qr/^OS unsupported: /, 'with the phrase that CPAN testers look for');
};

# Returns an environment in which perl believes that its headers are elsewhere.
sub without_headers { return before_all(q{use Config; tied(%Config)->{archlibexp} = '/nonexistent'}) }

# Returns an environment in which perl runs this first.
sub before_all {
    my ($code) = @_;
    make_path("$scratch/fake");
    spurt("$scratch/fake/BeforeAll.pm", "package BeforeAll; $code; 1;\n");
    return "PERL5LIB=$scratch/fake PERL5OPT=-MBeforeAll";
}

chdir '/';
done_testing;
