package Processes;

# Starts what is measured and what measures it: programs on cores of their own, Rust programs that are built first, and
# the certificate for TLS.

use strict;
use warnings;

use File::Path qw(make_path);
use IO::Select;
use POSIX ();

sub new {
    my ($class, %self) = @_;
    my $self = bless { %self, scratch => "$self{root}/target/bench" }, $class;
    make_path($self->{scratch});
    # These variables would change what is measured.
    delete @ENV{qw(ANYEVENT_WEBSOCKET_STRICT ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE PERL5OPT MOJO_REACTOR)};
    $ENV{PERL_ANYEVENT_MODEL} = 'EV';
    $self->{pinned} = { map { $_ => [_pinning($_)] } 0, 1 };
    return $self;
}

sub _pinning {
    my ($core) = @_;
    my @command = ('taskset', '-c', $core);
    return @command if system("@command true >/dev/null 2>&1") == 0;
    warn "no taskset or no core $core: not pinned\n";
    return;
}

# Starts a program on a core. The process is killed when the returned object is gone.
sub start {
    my ($self, $core, $env, @command) = @_;
    pipe my $read, my $write or die "pipe: $!\n";
    my $errors = "$self->{scratch}/errors-$core";
    my $pid = fork // die "fork: $!\n";
    return bless { pid => $pid, output => $read, errors => $errors }, 'Processes::Process' if $pid;
    %ENV = (%ENV, %$env);
    open STDOUT, '>&', $write;
    open STDERR, '>', $errors;
    # Ten thousand connections need as many descriptors.
    my @exec = ('sh', '-c', 'ulimit -n "$(ulimit -Hn)"; exec "$@"', 'sh', @{ $self->{pinned}{$core} }, @command);
    exec(@exec) or POSIX::_exit(127);
}

# Builds one of the crates below bench; returns its program. Dies if it does not build.
sub crate {
    my ($self, $dir, $program) = @_;
    local $ENV{CARGO_TARGET_DIR} = $self->{scratch};
    my $manifest = "$self->{root}/bench/$dir/Cargo.toml";
    system(qw(cargo build --quiet --release --locked --manifest-path), $manifest) == 0 or die "$program does not build\n";
    return "$self->{scratch}/release/$program";
}

# Returns the files with a certificate and its key, or nothing if there are none.
sub certificate {
    my ($self) = @_;
    my @files = map { "$self->{scratch}/$_.pem" } qw(certificate key);
    return @files if !grep { !-s } @files;
    my $command = 'openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost';
    return @files if system("$command -out '$files[0]' -keyout '$files[1]' >/dev/null 2>&1") == 0;
    return;
}

package Processes::Process;

use constant { START_SECONDS => 20, SPARE_SECONDS => 90 };

# Returns the first line, with which a server says that it is ready.
sub first_line {
    my ($self) = @_;
    my $is_ready = IO::Select->new($self->{output})->can_read(START_SECONDS);
    return ($is_ready ? readline $self->{output} : undef) // die $self->_complaint . "\n";
}

# Waits for a program that ends by itself within some seconds, and more for its start; returns its last line.
sub last_line {
    my ($self, $seconds) = @_;
    local $SIG{ALRM} = sub { kill KILL => $self->{pid} };
    alarm $seconds + SPARE_SECONDS;
    my $line = (readline $self->{output})[-1];
    alarm 0;
    return $line // die $self->_complaint . "\n";
}

# Returns the line that tells best why the program has failed.
sub _complaint {
    my ($self) = @_;
    open my $file, '<', $self->{errors} or return 'it ended without a word';
    my @lines = grep { /\w/ } <$file>;
    # JavaScript and Python end with their stack; the error itself has a form of its own.
    my ($telling) = grep { /^\s*(?:\w*Error|error|Can't|sh)\b/ } @lines;
    chomp(my $line = $telling // $lines[0] // 'it ended without a word');
    return substr $line, 0, 100;
}

sub DESTROY {
    my ($self) = @_;
    local $?;
    kill KILL => $self->{pid};
    waitpid $self->{pid}, 0;
}

1;
