# Tests that no byte is lost and none comes twice, whatever signals interrupt.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Config;
use File::Temp;
use Test::More;
use WebSocketTest;

needs_plain_loop();

my $SIZE = 200_000;    # octets of a message: more than a socket takes at once
my $SIGNALS = 100;

# No part of a body is like another.
my @bodies = map { my $number = $_; substr join('', map { "$number.$_ " } 1 .. $SIZE / 4), 0, $SIZE } 1 .. 8;

# Starts a process that sends us a signal again and again.
sub signaller {
    my $parent = $$;
    return fork_child(sub {
        while (getppid == $parent && kill USR1 => $parent) { select undef, undef, undef, 0.0003 }
    });
}

# Sends all bodies to and fro at once; returns the indexes of those that came back changed.
sub spoiled {
    my ($peer, @mask) = @_;
    $peer->write(map { binary($_, @mask) } @bodies);
    my @echoed = map { $peer->next_frame(60)->{payload} } @bodies;
    return grep { $echoed[$_] ne $bodies[$_] } 0 .. $#bodies;
}

for my $masked (0, 1) {
    subtest "a handler that runs again and again, masked $masked" => sub {
        my ($connection, $peer) = connection_and_peer(masked => $masked, max_payload_size => 0);
        $connection->on(each_message => sub { $_[0]->send($_[1]) });
        my @mask = (mask => !$masked);
        my ($signals, @spoiled) = (0);
        local $SIG{USR1} = sub { $signals++ };
        my $pid = signaller();
        push @spoiled, spoiled($peer, @mask) while $signals < $SIGNALS;
        kill KILL => $pid;
        reap($pid);
        is_deeply \@spoiled, [], 'each message comes back as it was';
        is_deeply [$peer->sync(@mask)], [], 'and nothing else';
    };
}

subtest 'a handler that sends and closes' => sub {
    my ($connection, $peer) = connection_and_peer(max_payload_size => 0);
    my ($sent, $received) = (0, 0);
    $connection->on(each_message => sub { $received++ });
    local $SIG{USR1} = sub { $connection->send('signal ' . ++$sent); $connection->close(4000) if $sent == $SIGNALS };
    my $pid = signaller();
    $peer->answer(sub { push @{ $peer->{frames} }, $_[0]; binary($bodies[0], mask => 1) });
    $peer->write(binary($bodies[0], mask => 1));
    $peer->wait_eof(60);
    kill KILL => $pid;
    reap($pid);
    my @frames = @{ $peer->{frames} };
    is_deeply [close_of(pop @frames)], [4000, ''], 'the Close comes last';
    is_deeply [map { $_->{payload} } @frames], [map { "signal $_" } 1 .. $SIGNALS], 'whole frames, each once, in order';
    cmp_ok $received, '>', 0, 'messages come meanwhile';
};

# --- system calls that are interrupted before or during their work, more often than by signals

my $library = <<'C';
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static unsigned calls;

/* Returns how much of the call may be done: nothing, a part, or all of it. */
static size_t share(int fd, size_t len)
{
    struct stat st;

    if (fstat(fd, &st) || !S_ISSOCK(st.st_mode) || !len)
        return len;
    switch (++calls % 4) {
    case 0:  errno = EINTR; return 0;
    case 1:  return 1;
    case 2:  return len / 3 + 1;
    default: return len;
    }
}

ssize_t read(int fd, void *to, size_t len)
{
    ssize_t (*real)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
    size_t part = share(fd, len);
    return len && !part ? -1 : real(fd, to, part);
}

ssize_t write(int fd, const void *from, size_t len)
{
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    size_t part = share(fd, len);
    return len && !part ? -1 : real(fd, from, part);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    return count ? write(fd, iov[0].iov_base, iov[0].iov_len) : 0;
}
C

my $program = <<'PROGRAM';
    use strict;
    use warnings;
    use WebSocketTest;
    my @bodies = map { my $n = $_; substr join('', map { "$n.$_ " } 1 .. 30_000), 0, 20_000 * $n } 1 .. 5;
    for my $masked (0, 1) {
        my ($connection, $peer) = connection_and_peer(masked => $masked, max_payload_size => 0);
        $connection->on(each_message => sub { $_[0]->send($_[1]) });
        $peer->write(map { (text("small $_", mask => !$masked), ping($_), binary($bodies[$_ - 1], mask => !$masked)) } 1 .. 5);
        for my $number (1 .. 5) {
            my ($small, $pong, $large) = map { $_->{payload} } $peer->next_frames(3);
            print "masked $masked, $number: $small, $pong\n" if $small ne "small $number" || $pong ne $number;
            print "masked $masked, $number: another body\n" if $large ne $bodies[$number - 1];
        }
        $connection->close(4000);
        $peer->wait_eof->close;
    }
    print "done\n";
PROGRAM

subtest 'system calls that are interrupted, or do a part' => sub {
    my $dir = File::Temp->newdir;
    open my $source, '>', "$dir/share.c" or die "share.c: $!";
    print $source $library;
    close $source;
    plan skip_all => 'no C compiler makes a library to preload'
        if $^O ne 'linux' || system "$Config{cc} -shared -fPIC -o $dir/share.so $dir/share.c -ldl 2>$dir/errors";
    my ($printed, $status) = run_perl({ LD_PRELOAD => "$dir/share.so" }, $program);
    is $printed, "done\n", 'each message is whole';
    is $status, 0, 'and the program ends well';
};

done_testing;
