use strict;
use warnings;

use Test::More;

# The distribution as people meet it: packed, unpacked, built, installed over an original, uninstalled. Works in a
# scratch directory; builds with the checkout's target directory, to save the minutes that perl's bindings take.
plan skip_all => 'set AUTHOR_TESTING=1 to run this' if !$ENV{AUTHOR_TESTING};

use Config;
use Cwd qw(abs_path);
use Digest::SHA;
use ExtUtils::Manifest qw(manicopy manifind maniskip);
use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Find qw(find);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use JSON::PP qw(decode_json);

my $root    = dirname(dirname(abs_path(__FILE__)));
my $scratch = tempdir(CLEANUP => 1);
my $base    = "$scratch/base";
my $lib     = "$base/lib/perl5";
my $so      = "auto/AnyEvent/WebSocket/Native/Native.$Config{dlext}";

$ENV{CARGO_TARGET_DIR} //= "$root/target";
delete @ENV{qw(PERL5LIB PERL_MM_OPT PERL_MB_OPT ANYEVENT_WEBSOCKET_PP MAKEFLAGS)};

# All files and directories that may lie at the top.
my @packed = qw(
    ARCHITECTURE.md CONTRIBUTING.md Cargo.lock Cargo.toml Changes LICENSE MANIFEST.SKIP Makefile.PL README.md SECURITY.md
    bench benches build.rs deny.toml examples fuzz inc perl rustfmt.toml script src t tests xt
);
my @not_packed = qw(.ci .gitignore);
my @generated = qw(MANIFEST META.json META.yml);

# Returns the output; a command that fails is a failed test.
sub run_ok {
    my ($command, $name) = @_;
    my $output = `$command 2>&1`;
    is($?, 0, $name // $command) or diag $output;
    return $output;
}

# From where an application would load it.
sub loaded_connection {
    my $print = 'print $INC{"AnyEvent/WebSocket/Connection.pm"}';
    return `PERL5LIB=$lib $^X -MAnyEvent::WebSocket::Connection -e '$print' 2>&1`;
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

# The first parts of these paths, each once.
sub at_the_top {
    my %seen = map { m{^([^/]+)} ? ($1 => 1) : () } @_;
    return [sort keys %seen];
}

chdir $root or die $!;
subtest 'what is in the repository' => sub {
    plan skip_all => 'this is not a checkout of git' if !-e '.git';
    my @files = split /\0/, run_ok('git ls-files -z');
    is_deeply(at_the_top(@files), [sort @packed, @not_packed], 'nothing else lies at the top');
    # A shell that is given a Perl program by a bare name makes files of what it takes for redirections.
    my @misnamed = grep { !/\.(?:pl|t)$/ && first_line($_) =~ /^#!.*\bperl\b/ } grep { -f } @files;
    is("@misnamed", '', 'programs in Perl have names that say so');
};

sub first_line {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    return scalar(<$file>) // '';
}

{
    my $skipped = maniskip("$root/MANIFEST.SKIP");
    local ($ExtUtils::Manifest::Quiet, $ExtUtils::Manifest::Verbose) = (1, 0);
    manicopy({ map { $_ => '' } grep { !$skipped->($_) } keys %{ manifind() } }, "$scratch/checkout", 'cp');
}
chdir "$scratch/checkout" or die $!;

subtest 'make dist' => sub {
    run_ok("$^X Makefile.PL");
    run_ok('make dist');
    my ($tarball) = glob '*.tar.gz';
    like($tarball, qr/^AnyEvent-WebSocket-Native-[0-9._]+\.tar\.gz$/, 'the tarball') or return;
    run_ok("tar xzf $tarball -C $scratch");
    $tarball =~ s/\.tar\.gz$//;
    chdir "$scratch/$tarball" or die $!;
    ok(-f $_, "$_ is in it")
        for qw(Cargo.lock Cargo.toml build.rs META.json MANIFEST README.md src/xs/glue.c inc/Toolchain.pm LICENSE);
    my @foreign = grep { m{(?:^|/)(?:target|blib|\.git)/} } files_below('.');
    is("@foreign", '', 'nothing built is in it');
    is_deeply(at_the_top(files_below('.')), [sort @packed, @generated], 'nothing else lies at the top');

    open my $file, '<', 'META.json' or die $!;
    my $meta = decode_json(join '', <$file>);
    is_deeply($meta->{license}, ['perl_5'], 'META: license');
    is($meta->{provides}{"AnyEvent::WebSocket::$_"}{version}, $meta->{version}, "META: provides $_")
        for qw(Connection Message Native);
};

subtest 'make' => sub {
    my @before = files_below('.');
    # The way of local::lib; -j4, for the rules' dependencies on one another.
    run_ok("PERL_MM_OPT='INSTALL_BASE=$base' $^X Makefile.PL");
    run_ok('make -j4');
    ok(-x "blib/arch/$so", 'the library is built');
    unlike(run_ok("readelf -d blib/arch/$so", 'readelf'), qr/NEEDED.*libperl/, 'and does not need libperl');

    unlike(run_ok('make', 'make, again'), qr/cargo|^cp /m, 'the second make builds nothing');
    for my $source ('src/lib.rs', 'src/xs/glue.c', 'build.rs', 'Cargo.toml', 'Cargo.lock') {
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
    # UNINST=1, which many a cpan is set to, asks to delete what would be shadowed.
    run_ok('make install UNINST=1');
    is(loaded_connection(), "$lib/$Config{archname}/AnyEvent/WebSocket/Connection.pm", 'installed: ours is loaded');
    my $installed = digests($base);
    is_deeply({ map { $_ => $installed->{$_} } keys %$before }, $before, 'every file of the original is as it was');
    ok($installed->{"man/man3/AnyEvent::WebSocket::Native.$Config{man3ext}"}, 'our man page is there');

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
        # CARGO_HOME, because cargo is looked for there too; rustup's cargo finds its toolchain without.
        my $output = `PATH=$bin CARGO_HOME=/nonexistent $env $^X Makefile.PL 2>&1`;
        is($?, 0, 'exit status 0');
        ok(!-e 'Makefile', 'no Makefile');
        is(scalar(() = $output =~ /\n/g), 1, 'one line');
        return $output;
    };
    my @all = qw(sh cargo rustc make cc gcc llvm-config);
    my $without = sub { my ($gone) = @_; return grep { $_ ne $gone } @all };
    my @cases = (
        ['cargo',    qr/missing cargo.*Debian package/, '', $without->('cargo')],
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

# An environment in which perl believes its headers to be elsewhere.
sub without_headers {
    my $dir = "$scratch/fake";
    make_path($dir);
    open my $file, '>', "$dir/NoHeaders.pm" or die $!;
    print {$file} "package NoHeaders; use Config; tied(%Config)->{archlibexp} = '/nonexistent'; 1;\n";
    close $file or die $!;
    return "PERL5LIB=$dir PERL5OPT=-MNoHeaders";
}

chdir '/';
done_testing;
