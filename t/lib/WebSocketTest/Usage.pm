package WebSocketTest::Usage;

# Reads from /proc what this process uses.
#
#   resident()       memory, KiB; nothing where there is no /proc, or where valgrind's own memory would be counted
#   descriptors()    open file descriptors

use strict;
use warnings;
use Exporter 'import';
use POSIX ();

our @EXPORT = qw(resident descriptors);

my $page = POSIX::sysconf(POSIX::_SC_PAGESIZE()) / 1024;

sub resident {
    return if ($ENV{LD_PRELOAD} || '') =~ /vgpreload/;
    open my $in, '<', '/proc/self/statm' or return;
    return $page * (split ' ', <$in>)[1];
}

sub descriptors {
    opendir my $directory, '/proc/self/fd' or return;
    my $count = grep { /\d/ } readdir $directory;
    return $count - 1;    # the directory's own
}

1;
