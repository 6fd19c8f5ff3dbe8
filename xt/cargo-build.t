use strict;
use warnings;

use Test::More;

# Tests how the Makefile has cargo build (inc/CargoBuild.pm), with a fake cargo: where it finds the library, when it has the
# bindings made anew, and its message when cargo fails.
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp qw(tempdir);

use lib dirname(abs_path(__FILE__)) . '/lib';
use Distribution qw(root slurp spurt);
use lib root() . '/inc';
use CargoBuild;

my $scratch = tempdir(CLEANUP => 1);
chdir $scratch or die $!;
my %before = map { $_ => $ENV{$_} } grep { defined $ENV{$_} } qw(CARGO_HOME HOME);
delete @ENV{qw(CARGO_HOME CARGO_TARGET_DIR)};
$ENV{HOME} = "$scratch/home";
make_path('home', 'built', 'blib');

# Records its arguments, CARGO_HOME, PERL and MAKEFLAGS, and behaves as the files "fail-SUBCOMMAND" say.
my $cargo = spurt("$scratch/cargo", <<'SH', 0755);
#!/bin/sh
echo "$* CARGO_HOME=$CARGO_HOME PERL=$PERL MAKEFLAGS=$MAKEFLAGS" >>log
[ ! -e "fail-$1" ] || exit 101
case $1 in
  metadata) echo '{"target_directory":"'$PWD'/target"}' ;;
  build)
    echo library >built/libanyevent_websocket.so
    echo '{"reason":"compiler-artifact","target":{"name":"libperl_sys"},"filenames":["/other.so"]}'
    echo '{"reason":"compiler-artifact","target":{"name":"anyevent_websocket"},"filenames":["/x.rlib","'$PWD'/built/libanyevent_websocket.so"]}'
    echo '{"reason":"build-finished","success":true}' ;;
  tree) echo tree ;;
esac
SH

# Builds. Returns the output, and whether it died.
sub build {
    my (%env) = @_;
    spurt('log', '');
    local @ENV{ keys %env } = values %env;
    open my $stderr, '>&', \*STDERR or die $!;
    open STDERR, '>', 'stderr' or die $!;
    my $lived = eval { CargoBuild::build_library($cargo, 'blib/Native.so', '755'); 1 };
    my $error = $@;
    open STDERR, '>&', $stderr or die $!;
    return slurp('stderr') . ($lived ? '' : $error);
}

sub calls {
    my ($subcommand) = @_;
    return grep { /^\Q$subcommand\E / } split /\n/, slurp('log');
}

subtest 'a build' => sub {
    is(build(MAKEFLAGS => '-j4 --jobserver-auth=3,4'), '', 'says nothing itself');
    is(slurp('blib/Native.so'), "library\n", 'the library is where cargo said');
    is((stat 'blib/Native.so')[2] & 0777, 0755, 'with the mode');
    my ($call) = calls('build');
    like($call, qr/--release --locked --features xs/, 'options');
    like($call, qr/ CARGO_HOME=\Q$scratch\E\/home\/\.cargo PERL=\Q$^X\E MAKEFLAGS=$/, 'environment');
    unlike($call, qr/--offline/, 'from the registry');
};

subtest 'a mapped library is replaced' => sub {
    my $inode = (stat 'blib/Native.so')[1];
    open my $old, '<', 'blib/Native.so' or die $!;
    build();
    isnt((stat 'blib/Native.so')[1], $inode, 'another file');
    is(scalar(calls('clean')), 0, 'nothing is forgotten for the same perl');
};

subtest 'another perl' => sub {
    make_path('target/release', 'target/x86_64-unknown-linux-gnu/release', 'target/asan-perl/release');
    my $note = 'target/anyevent-websocket-build.txt';
    spurt($note, slurp($note) =~ s/^(.*)\n.*/$1\n\/another\/perl/r);
    like(build(), qr/made for another perl/, 'is noticed');
    my @calls = calls('clean');
    is(scalar(@calls), 2, 'each target is cleaned, and no other directory');
    like($_, qr/--release .*--package anyevent-websocket --package libperl-sys /, 'of what depends on perl') for @calls;
    like($calls[1], qr/--target x86_64-unknown-linux-gnu/, 'the target is named');
    is(build(), '', 'once');

    spurt($note, slurp($note) =~ s/(Config_heavy\.pl \d+)/${1}0/r);
    like(build(), qr/made for another perl/, 'an upgrade is noticed by the files of perl');

    spurt($note, slurp($note) =~ s/^/\/another/r);
    is(build(), '', 'the same perl, but sources elsewhere');
    like((calls('clean'))[0], qr/--package anyevent-websocket CARGO/, 'are compiled anew');

    spurt($note, "/another\n/perl\n");
    spurt('fail-clean', '');
    like(build(), qr/Remove it yourself: rm -rf '\Q$scratch\E\/target'/, 'if cargo cannot clean, it stops with advice');
    is(scalar(calls('build')), 0, 'before it builds');
    unlink 'fail-clean';
    build();
};

subtest 'a home that is not there' => sub {
    # Not even root can create this directory.
    my $said = build(HOME => '/proc/nonexistent');
    like($said, qr{^cargo cannot write to /proc/nonexistent/\.cargo: it uses \Q$scratch\E/target/cargo-home$}, 'is said');
    like((calls('build'))[0], qr{CARGO_HOME=\Q$scratch\E/target/cargo-home }, 'and another is used');
};

subtest 'advice' => sub {
    spurt("fail-$_", '') for qw(build tree);
    like(build(CARGO_HOME => '/proc/nonexistent'), qr{cannot write to /proc/nonexistent: set CARGO_HOME}, 'CARGO_HOME');
    like(build(), qr{could not download all crates.*see "Without a network" in INSTALL.md}, 'no network');
    unlink 'fail-tree';
    is(build(), "cargo could not build the library; the reason stands above.\n", 'anything else');
    unlink 'fail-build';
};

subtest 'a source that has gone since perl Makefile.PL' => sub {
    local @ENV{ keys %before } = values %before;
    my @needed = map { root() . "/$_" } qw(Makefile.PL Cargo.toml Cargo.lock build.rs inc perl src);
    make_path('tree');
    is system('cp', '-R', @needed, 'tree'), 0, 'a copy of the sources';
    is system("cd tree && $^X Makefile.PL >output 2>&1"), 0, 'has a Makefile' or diag slurp('tree/output');
    unlink 'tree/src/xs/xsubs/connection.rs' or die $!;
    is system('make -C tree -n >output 2>&1'), 0, 'does not stop make' or diag slurp('output');
};

subtest 'crates in the tarball' => sub {
    make_path('vendor');
    is(build(), '', 'are used');
    like((calls('build'))[0], qr{--offline --config .*anyevent-websocket-vendor.directory="\Q$scratch\E/vendor"}, 'offline');
    spurt("fail-$_", '') for qw(build tree);
    unlike(build(), qr{download}, 'and then nothing is said of downloading');
};

chdir '/';
done_testing;
