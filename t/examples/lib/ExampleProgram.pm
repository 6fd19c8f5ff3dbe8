package ExampleProgram;

# Runs a program beside the test, and lets the test wait for its output, STDERR included.
#
#   my $program = ExampleProgram->start('echo-server.pl', '--port', 0);     # one of examples/, with this perl and @INC
#   my $program = ExampleProgram->run('nginx', '-c', $file);                # any other
#   my ($port) = $program->wait_for(qr/^listening on .*:(\d+)/m);           # the captures, or 1
#   my $status = $program->stop;                                            # SIGTERM; its wait status
#
# A program that is not stopped gets SIGTERM when the object is destroyed, even if a signal ends the test.

use strict;
use warnings;
use AnyEvent;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Scalar::Util qw(weaken);
use WebSocketTest;

for my $signal (qw(INT TERM ALRM)) {
    $SIG{$signal} = sub { die "SIG$signal\n" };
}

my $examples = abs_path(dirname(__FILE__) . '/../../../examples');

sub path { "$examples/$_[1]" }

sub start {
    my ($class, $name, @arguments) = @_;
    return $class->run($^X, (map {"-I$_"} @INC), $class->path($name), @arguments);
}

sub run {
    my ($class, @command) = @_;
    pipe my $reader, my $writer or die "pipe: $!";
    my $self = bless { name => $command[0], output => '', reader => $reader }, $class;
    $self->{pid} = fork_child(sub {
        open $_, '>&', $writer for *STDOUT, *STDERR;
        { exec @command }
        warn "$command[0]: $!\n";
    });
    weaken(my $weak = $self);
    $self->{watcher} = AE::io $reader, 0, sub { $weak->_read };
    return $self;
}

sub output { $_[0]{output} }

sub _read {
    my ($self) = @_;
    sysread $self->{reader}, $self->{output}, 65536, length $self->{output} or delete $self->{watcher};
    poke();
}

sub ended { !$_[0]{watcher} }

sub wait_for {
    my ($self, $pattern, $seconds) = @_;
    my @found;
    eval { wait_until("/$pattern/", sub { (@found = $self->{output} =~ $pattern) || $self->ended }, $seconds || 60); 1 }
        or warn $@;
    die "$self->{name} did not print /$pattern/, but this:\n$self->{output}" unless @found;
    return @found;
}

sub signal {
    my ($self, $signal) = @_;
    kill $signal => $self->{pid};
    return $self;
}

sub wait {
    my ($self) = @_;
    my $status = reap($self->{pid});
    delete $self->{pid};
    return $status;
}

sub stop { $_[0]->signal('TERM')->wait }

sub DESTROY {
    my ($self) = @_;
    local ($?, $!);
    kill TERM => $self->{pid} if $self->{pid};
}

1;
