# Tests that a cloned connection is inert: nothing crashes, and nothing is freed twice.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../../lib";
use Test::More;
use WebSocketTest;

use Config;

plan skip_all => 'by design: this perl has no threads' unless $Config{useithreads};

# Runs a program in a separate process, which must end cleanly, on the pure-Perl loop: EV itself does not survive threads.
sub course {
    my ($program) = @_;
    my $frame = <<'FRAME';
        use strict;
        use warnings;
        use threads;
        use WebSocketTest;
        open STDERR, '>&', \*STDOUT;
        $| = 1;
        my ($connection, $peer) = connection_and_peer(masked => 1);
        my $seen = recorder($connection);
        $peer->sync;
FRAME
    return run_perl({ PERL_ANYEVENT_MODEL => 'Perl' }, $frame . $program);
}

# Checks that the connection still works afterwards.
my $works = <<'WORKS';
        $connection->send('after');
        print join ',', map({ $_->{payload} } $peer->sync);
        $peer->write(text('heard'));
        print ' ', $seen->wait_messages(1)->bodies->[-1];
        $connection->close(4000);
        print ' ', join ',', map { (close_of($_))[0] } $peer->frames_to_eof;
        $peer->close;
        $seen->wait_finish;
        print ' ', $seen->finished;
WORKS

my $fine = 'after heard 4000 1';

subtest 'a thread is created and joined' => sub {
    my ($printed, $status) = course("threads->create(sub { 1 })->join for 1 .. 5;\n$works");
    is $printed, $fine, 'the connection goes on';
    is $status, 0, 'no crash at the end';
};

subtest 'a thread that forgets its copy' => sub {
    my ($printed, $status) = course("threads->create(sub { undef \$connection; undef \$seen; 1 })->join;\n$works");
    is $printed, $fine, 'the connection goes on';
    is $status, 0, 'no crash at the end';
};

subtest 'threads in threads, with half a frame received' => sub {
    my ($printed, $status) = course(<<"PROGRAM");
        \$peer->write(substr text('heard'), 0, 4);
        settle();
        threads->create(sub { threads->create(sub { 1 })->join })->join;
        \$peer->write(substr text('heard'), 4);
        \$seen->wait_messages(1);
        $works
PROGRAM
    is $printed, $fine, 'the connection goes on';
    is $status, 0, 'no crash at the end';
};

subtest 'a message is plain data' => sub {
    my ($printed, $status) = course(<<'PROGRAM');
        $peer->write(text('body'));
        my ($message) = $seen->wait_messages(1)->messages;
        print threads->create(sub { $message->body . ' ' . $message->is_text })->join;
        print ' ', $message->body;
PROGRAM
    is $printed, 'body 1 body', 'and can be read in a thread';
    is $status, 0, 'no crash at the end';
};

subtest 'a connection made in a thread' => sub {
    my ($printed, $status) = course(<<'PROGRAM');
        print threads->create(sub {
            my ($own, $own_peer) = connection_and_peer(masked => 1);
            $own->on(each_message => sub { $_[0]->send('re: ' . $_[1]->body) });
            $own_peer->write(text('x'));
            return $own_peer->next_frame->{payload};
        })->join;
        print ' ', scalar $peer->sync;
PROGRAM
    is $printed, 're: x 0', 'works there';
    is $status, 0, 'no crash at the end';
};

differs 'a thread that uses its copy' => 'writes to the socket of the other thread' => sub {
    my ($printed, $status) = course(<<"PROGRAM");
        threads->create(sub {
            eval { \$connection->send('from the thread') };
            eval { \$connection->on(each_message => sub { }) };
            eval { \$connection->\$_ } for qw(masked handle close_code subprotocol);
            eval { \$connection->close(4999) };
            1;
        })->join;
        $works
PROGRAM
    is $printed, $fine, 'does nothing to the connection';
    is $status, 0, 'no crash at the end';
};

subtest 'the program ends with a thread running' => sub {
    my ($printed, $status) = course("threads->create(sub { select undef, undef, undef, 0.05; 1 })->detach;\nprint 'end';\n");
    like $printed, qr/\Aend/, 'it ends';
    is $status, 0, 'without a crash';
};

done_testing;
