package Servers;

# The servers: how each is started, which cells it takes part in, and how a cell is measured on it.

use strict;
use warnings;

use File::Path qw(make_path);
use IO::Select;
use List::Util qw(min);
use POSIX ();

use constant { START_SECONDS => 20, SPARE_SECONDS => 90 };

# Names and titles, in the order in which they are measured and shown.
our @TITLES = (
    [original => 'original'],
    [mojolicious => 'Mojolicious'],
    [ws => 'Node ws'],
    [picows => 'picows'],
    [bun => 'Bun'],
    [fastwebsockets => 'fastwebsockets'],
    [ours => 'this module'],
);

sub new {
    my ($class, %self) = @_;
    my $self = bless \%self, $class;
    $self->{scratch} = "$self->{root}/target/bench";
    make_path($self->{scratch});
    $self->_clean_environment;
    $self->{pinned} = { map { $_ => [_pinning($_)] } 0, 1 };
    $self->{loadgen} = $self->_crate('loadgen', 'loadgen') or die "the load generator does not build\n";
    $self->{certificate} = $self->_certificate;
    return $self;
}

# Returns the requested servers that work, each with its version under "about". Prints which are skipped, and why.
sub installed {
    my ($self) = @_;
    my %wanted = map { $_ => 1 } split /,/, $self->{only} // '';
    my @servers = grep { !%wanted || delete $wanted{ $_->{name} } } $self->_all;
    die "no such server: @{[sort keys %wanted]}\n" if %wanted;
    my @works;
    for my $server (@servers) {
        $server->{kinds} =~ s/\bwss\b// if !$self->{certificate};
        my $about = eval { $self->_start($server, {}); $self->_stop; $self->{about} };
        printf "%-15s %s\n", $server->{name}, $about // 'skipped: ' . $@ =~ s/\n.*//sr;
        push @works, { %$server, about => $about } if defined $about;
    }
    return @works;
}

# Returns the CPU time of a message in microseconds, or the memory of a connection in KiB.
sub measure {
    my ($self, $server, $cell, $seconds) = @_;
    return $self->_client_role($server, $cell, $seconds) if $cell->{kind} =~ /^(?:feed|send|new)$/;
    $self->_start($server, $cell);
    my $mode = $cell->{kind} =~ /^(?:idle|connect)$/ ? $cell->{kind} : 'echo';
    my $is_tls = $cell->{kind} eq 'wss' ? 1 : 0;
    my @numbers = (@$self{qw(port pid)}, $is_tls, @$cell{qw(size in_flight connections)}, $seconds);
    my $line = eval { $self->_output($seconds, 1, {}, $self->{loadgen}, $mode, @numbers) };
    my $error = $@;
    $self->_stop;
    return _value($line // die $error);
}

sub DESTROY { $_[0]->_stop }

sub _all {
    my ($self) = @_;
    my $here = "$self->{root}/bench/servers";
    my $cache = $ENV{BENCH_CACHE} // "$ENV{HOME}/.cache/ws-bench";
    my $modules = "$cache/node/node_modules";
    my @perl = ($^X, "-I$self->{blib}/lib", "-I$self->{blib}/arch");
    my %node = (NODE_PATH => join ':', $modules, $ENV{NODE_PATH} // ());
    my $fastwebsockets = sub {
        return $self->{fastwebsockets} //= $self->_crate('servers/fastwebsockets', 'fastwebsockets-echo')
            // die "it does not build\n";
    };
    my $anyevent = 'ws wss perl feed send new connect idle';
    my %how = (
        original => {
            kinds => $anyevent, perl => \@perl, command => [@perl, "$here/anyevent.pl"], env => { ANYEVENT_WEBSOCKET_PP => 1 },
        },
        mojolicious => { kinds => 'ws wss connect idle', command => [$^X, "$here/mojolicious.pl"], env => {} },
        ws => { kinds => 'ws wss connect idle', command => ['node', "$here/ws.js"], env => \%node },
        picows => {
            kinds => 'ws wss connect idle', command => [_first("$cache/py/bin/python", 'python3'), "$here/echo_picows.py"],
            env => {},
        },
        bun => { kinds => 'ws wss connect idle', command => [_first("$modules/.bin/bun", 'bun'), "$here/bun.js"], env => {} },
        fastwebsockets => { kinds => 'ws connect idle', command => [$fastwebsockets], env => {} },
        ours => {
            kinds => $anyevent, perl => \@perl, command => [@perl, "$here/anyevent.pl"], env => { ANYEVENT_WEBSOCKET_PP => 0 },
        },
    );
    return map { { name => $_->[0], %{ $how{ $_->[0] } } } } @TITLES;
}

sub _first { my ($path, $program) = @_; -x $path ? $path : $program }

# Removes variables that would change what is measured.
sub _clean_environment {
    delete @ENV{qw(ANYEVENT_WEBSOCKET_STRICT ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE PERL5OPT MOJO_REACTOR)};
    $ENV{PERL_ANYEVENT_MODEL} = 'EV';
}

sub _pinning {
    my ($core) = @_;
    my @command = ('taskset', '-c', $core);
    return @command if system("@command true >/dev/null 2>&1") == 0;
    warn "no taskset or no core $core: not pinned\n";
    return;
}

# Builds one of the crates below bench; returns its program.
sub _crate {
    my ($self, $dir, $program) = @_;
    local $ENV{CARGO_TARGET_DIR} = $self->{scratch};
    my $manifest = "$self->{root}/bench/$dir/Cargo.toml";
    system(qw(cargo build --quiet --release --locked --manifest-path), $manifest);
    return $? == 0 ? "$self->{scratch}/release/$program" : undef;
}

sub _certificate {
    my ($self) = @_;
    my @files = map { "$self->{scratch}/$_.pem" } qw(certificate key);
    return \@files if !grep { !-s } @files;
    my $command = 'openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost';
    return \@files if system("$command -out '$files[0]' -keyout '$files[1]' >/dev/null 2>&1") == 0;
    print "wss cells skipped: openssl makes no certificate\n";
    return;
}

# Starts a process whose output goes to the returned handle, and its errors to a file.
sub _spawn {
    my ($self, $core, $env, @command) = @_;
    pipe my $read, my $write or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";
    return ($pid, $read) if $pid;
    %ENV = (%ENV, %$env);
    open STDOUT, '>&', $write;
    open STDERR, '>', "$self->{scratch}/stderr";
    # Ten thousand connections need as many descriptors.
    my @exec = ('sh', '-c', 'ulimit -n "$(ulimit -Hn)"; exec "$@"', 'sh', @{ $self->{pinned}{$core} }, @command);
    exec(@exec) or POSIX::_exit(127);
}

sub _start {
    my ($self, $server, $cell) = @_;
    my @command = map { ref ? $_->() : $_ } @{ $server->{command} };
    push @command, @{ $self->{certificate} } if ($cell->{kind} // '') eq 'wss';
    my %env = %{ $server->{env} };
    $env{PERL_ANYEVENT_MODEL} = 'Perl' if ($cell->{kind} // '') eq 'perl';
    (@$self{qw(pid output)}) = $self->_spawn(0, \%env, @command);
    my $line = IO::Select->new($self->{output})->can_read(START_SECONDS) ? readline $self->{output} : undef;
    return if (@$self{qw(port about)} = ($line // '') =~ /^(\d+) (.*)/);
    $self->_stop;
    die $self->_complaint . "\n";
}

sub _stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    local $?;
    kill KILL => $pid;
    waitpid $pid, 0;
}

# Returns the last line of a command that ends by itself.
sub _output {
    my ($self, $seconds, $core, $env, @command) = @_;
    my ($pid, $output) = $self->_spawn($core, $env, @command);
    local $SIG{ALRM} = sub { kill KILL => $pid };
    alarm $seconds + SPARE_SECONDS;
    my $line = (readline $output)[-1];
    waitpid $pid, 0;
    alarm 0;
    return $line // die $self->_complaint . "\n";
}

sub _complaint {
    my ($self) = @_;
    open my $file, '<', "$self->{scratch}/stderr" or return 'it ended without a word';
    my @lines = grep { /\w/ } <$file>;
    # JavaScript and Python end with their stack; the error itself has a form of its own.
    my ($telling) = grep { /^\s*(?:\w*Error|error|Can't|sh)\b/ } @lines;
    chomp(my $line = $telling // $lines[0] // 'it ended without a word');
    return substr $line, 0, 100;
}

sub _client_role {
    my ($self, $server, $cell, $seconds) = @_;
    # The count is chosen so that the original takes about a second.
    my ($kind, $size) = @$cell{qw(kind size)};
    my $count = $kind eq 'new' ? 10_000 : min(150_000, 600e6 / $size);
    my @arguments = ($kind, $kind eq 'new' ? () : $size, int($count * $seconds));
    my $script = "$self->{root}/bench/client.pl";
    return _value($self->_output($seconds, 0, $server->{env}, @{ $server->{perl} }, $script, @arguments));
}

sub _value {
    my ($line) = @_;
    my ($value) = $line =~ /^(?:cpu_us|kib)=([\d.]+)/ or die "not understood: $line\n";
    return $value;
}

1;
