/* System calls on a handle's descriptor. */
#include "glue.h"
#include <perliol.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Returns the IO object of a handle's fh; NULL if that is not a file handle. */
IO *ws_io(PerlInterpreter *perl, SV *fh)
{
    TAKE_THX(perl);

    if (SvROK(fh))
        fh = SvRV(fh);
    if (isGV_with_GP(fh))
        return GvIO((GV *)fh);
    return SvTYPE(fh) == SVt_PVIO ? (IO *)fh : NULL;
}

/* Returns the descriptor, or -1 if there is none that read(2) and write(2) can use. */
static int fileno_of(PerlInterpreter *perl, IO *io)
{
    TAKE_THX(perl);

    if (!io || !IoIFP(io) || SvRMAGICAL((SV *)io))
        return -1;
    return PerlIO_fileno(IoIFP(io));
}

/* Returns the descriptor of a handle's fh, or -1 if there is none that read(2) and write(2) can use. */
int ws_fd(PerlInterpreter *perl, SV *fh)
{
    return fileno_of(perl, ws_io(perl, fh));
}

/* Returns what a system call returned, or its negative errno. Keeps the program's $! as it was. */
static SSize_t outcome(ssize_t count, int before)
{
    const int error = errno;

    if (count >= 0)
        return count;
    errno = before;
    return -error;
}

/* Uses recv(2) and send(2) on a socket: they do the same as read(2) and write(2), without the kernel's work for
 * files. ENOTSOCK is no failure, but means that the descriptor is a file or a pipe. */
#define TRANSFER(name, memory, on_socket, on_file)                           \
    SSize_t name(int fd, memory *start, STRLEN len)                          \
    {                                                                        \
        const int before = errno;                                            \
        ssize_t count = on_socket(fd, start, len, 0);                        \
        if (count < 0 && errno == ENOTSOCK) {                                \
            errno = before;                                                  \
            count = on_file(fd, start, len);                                 \
        }                                                                    \
        return outcome(count, before);                                       \
    }

_Static_assert(WS_ADDRESSES_SIZE >= 2 * sizeof(struct sockaddr_storage), "both addresses fit");

TRANSFER(ws_read, void, recv, read)
TRANSFER(ws_write, const void, send, write)

/* Writes the packed addresses of a socket's peer and of the socket itself into `out`, one after the other, and their
 * lengths into `len`. `out` has room for WS_ADDRESSES_SIZE bytes. Both are empty if the descriptor is not a socket. */
void ws_addresses(int fd, char *out, STRLEN len[2])
{
    const int before = errno;
    struct sockaddr_storage address;
    socklen_t size;

    size = sizeof address;
    len[0] = getpeername(fd, (struct sockaddr *)&address, &size) == 0 && size <= sizeof address ? size : 0;
    memcpy(out, &address, len[0]);
    size = sizeof address;
    len[1] = getsockname(fd, (struct sockaddr *)&address, &size) == 0 && size <= sizeof address ? size : 0;
    memcpy(out + len[0], &address, len[1]);
    errno = before;
}

/* Makes a descriptor nonblocking, and out-of-band data a part of the stream, as AnyEvent::Handle does. Returns false, and
 * does nothing, if it is a socket that is no stream. */
bool ws_prepare_stream(int fd)
{
    const int before = errno;
    const int on = 1;
    int type;
    socklen_t size = sizeof type;
    const bool is_stream = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type == SOCK_STREAM;

    if (is_stream) {
        (void)fcntl(fd, F_SETFL, O_NONBLOCK);
        (void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
    }
    errno = before;
    return is_stream;
}

/* Ends the stream to the peer. */
void ws_shut_down(int fd)
{
    const int before = errno;

    (void)shutdown(fd, SHUT_WR);
    errno = before;
}

/* Makes the kernel hold back what is written, so that it travels in one packet with the end of the stream; or stops that. */
void ws_hold_packets(int fd, bool holds)
{
#ifdef TCP_CORK
    const int before = errno;
    const int value = holds;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_CORK, &value, sizeof value);
    errno = before;
#else
    (void)fd;
    (void)holds;
#endif
}

/* Returns 1 if something can be read from a socket, 0 at the end of the stream, or the negative errno. */
SSize_t ws_peek(int fd)
{
    const int before = errno;
    char octet;

    return outcome(recv(fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT), before);
}

/* Writes two pieces of memory, one after the other; returns what ws_write does. */
SSize_t ws_write_both(int fd, const void *first, STRLEN first_len, const void *second, STRLEN second_len)
{
    const int before = errno;
    struct iovec pieces[2];

    pieces[0].iov_base = (void *)first;
    pieces[0].iov_len = first_len;
    pieces[1].iov_base = (void *)second;
    pieces[1].iov_len = second_len;
    return outcome(writev(fd, pieces, 2), before);
}

/* Writes the addresses through which ws_fd finds the descriptor into `out`, NULL where there is none. */
void ws_file_addresses(PerlInterpreter *perl, SV *fh, const void *out[WS_FILE_ADDRESSES])
{
    const SV *gv = SvROK(fh) ? SvRV(fh) : fh;
    const IO *io = ws_io(perl, fh);
    const PerlIOl *layer = io && IoIFP(io) ? PerlIOBase(IoIFP(io)) : NULL;

    out[0] = isGV_with_GP(gv) ? GvGP((GV *)gv) : NULL;
    out[1] = io;
    out[2] = io ? &IoIFP(io) : NULL;
    out[3] = io ? IoIFP(io) : NULL;
    out[4] = layer;
    out[5] = layer ? layer->next : NULL;
}

/* Prefetches `size` bytes from `state` on, and the memory at these distances from `start`. None of it needs to exist. */
void ws_prefetch(const void *state, STRLEN size, const void *start, const I32 distances[WS_FOOTPRINT])
{
    STRLEN i;

    for (i = 0; i < size; i += 64)
        __builtin_prefetch((const char *)state + i);
#pragma GCC unroll 8
    for (i = 0; i < WS_FOOTPRINT; i++)
        __builtin_prefetch((const char *)start + distances[i]);
}
