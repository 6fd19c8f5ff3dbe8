use strict;
use warnings;

use Test::More;

# Tests that the tarball that includes its crates builds without a network, as a user without a home directory. Needs root, to
# take both away; takes some minutes, because nothing that was built before is used.
plan skip_all => 'set AUTHOR_TESTING=1 to run this' if !$ENV{AUTHOR_TESTING};
plan skip_all => 'this needs root' if $> != 0;

use Config;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);

use lib dirname(abs_path(__FILE__)) . '/lib';
use Distribution qw(files_below make_tarball run_ok spurt unpack_tarball);

my $scratch = tempdir(CLEANUP => 1);
chmod 0755, $scratch or die $!;
chomp(my $toolchain = `rustc --print sysroot`);
delete @ENV{qw(CARGO_HOME CARGO_TARGET_DIR RUSTUP_HOME)};

# Runs a command in the unpacked tarball, with no network but the loopback device, as nobody. The toolchain may be below
# the home directory of root, where nobody else can read it.
my $cell = spurt("$scratch/cell", <<"SH", 0755);
#!/bin/sh
set -e
if [ "\$1" != --inside ]; then exec unshare --net --mount "\$0" --inside "\$@"; fi
shift
mkdir -p $scratch/toolchain
mount --bind $toolchain $scratch/toolchain
[ ! -x "\$(command -v ip)" ] || ip link set lo up
exec setpriv --reuid=65534 --regid=65534 --clear-groups \\
  env -i HOME=/nonexistent PATH=$scratch/toolchain/bin:/usr/bin:/bin sh -c "\$1"
SH
plan skip_all => "there are no namespaces of one's own here" if system("$cell true 2>/dev/null") != 0;

my $plain   = -s make_tarball($scratch);
my $tarball = make_tarball($scratch, 'VENDOR=1');
like($tarball, qr/-vendored\.tar\.gz$/, 'its name differs from that of the plain one');
my $size = -s $tarball;
note "$size bytes, the plain one $plain";
cmp_ok($size, '<', 8_000_000, 'its size');

my $unpacked = unpack_tarball($tarball, $scratch);
chdir $unpacked or die $!;
run_ok("chown -R 65534:65534 $unpacked");
is((stat "$unpacked/Makefile.PL")[4], 65534, 'it belongs to nobody');
isnt(system("$cell 'wget -q -T 2 -O- http://192.0.2.1/ 2>/dev/null'"), 0, 'there is no network');

my $configured = run_ok("$cell '$^X Makefile.PL'", 'perl Makefile.PL');
unlike($configured, qr/missing/, 'the kit is complete');
my $made = run_ok("$cell 'make -j4'", 'make -j4');
like($made, qr{cargo cannot write to /nonexistent/\.cargo}, 'without a home directory');
unlike($made, qr/Not compiled where/, 'nothing is compiled that is there in name only');
ok(-x "blib/arch/auto/AnyEvent/WebSocket/Native/Native.$Config{dlext}", 'the library is built');
my @tests = glob 't/contract/construction/*.t';
run_ok("$cell 'WEBSOCKET_TEST_BACKEND=rust prove -b -It/lib @tests'", 'tests pass');

subtest 'a changed crate is noticed' => sub {
    spurt("$unpacked/vendor/" . (grep { m{^bytes-[^/]*/src/lib\.rs$} } files_below("$unpacked/vendor"))[0], "// changed\n");
    my $output = `$cell 'rm -rf target blib && make' 2>&1`;
    like($output, qr/the listed checksum of .*lib\.rs.* has changed/, 'cargo refuses it');
};

chdir '/';
done_testing;
