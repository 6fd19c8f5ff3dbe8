/* The C half of the binding: what perl offers only as macros, every call that may run Perl code, and every croak.
 *
 * Perl's longjmp never meets a Rust frame, because none is on the stack while Perl code runs: an XSUB is a trampoline
 * that asks Rust what to do (struct ws_after), and does it once Rust has returned. Callbacks are called by a loop that
 * asks Rust for one after the other (struct ws_call).
 */
#define PERL_NO_GET_CONTEXT
#define NO_XSLOCKS                    /* gives the XCPT_ macros */
#include "EXTERN.h"
#include "perl.h"
#include "XSUB.h"
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Rust passes the interpreter as a plain pointer, whether or not this perl has more than one. */
#ifdef MULTIPLICITY
#  define THX my_perl
#  define TAKE_THX(thx) PerlInterpreter *my_perl = (thx); PERL_UNUSED_VAR(my_perl)
#else
#  define THX NULL
#  define TAKE_THX(thx) PERL_UNUSED_VAR(thx)
#endif

#define WS_MAX_CALLS 8
#define WS_MAX_ARGS 3

/* What the dispatch loop calls next. The same struct stands in dispatch.rs. */
struct ws_call {
    SV *sub;                      /* NULL for a method */
    const char *method;           /* NULL, too: nothing is called */
    SV *args[WS_MAX_ARGS];        /* behind the connection */
    int count;
    bool has_message;             /* the first of what is owned is a message */
    bool are_many;                /* more than one frame is to be dispatched */
    SV *owned[WS_MAX_ARGS];       /* freed after the call */
};

struct ws_sub_call {
    const char *sub;              /* full name of a Perl sub, in the shim */
    SV *args[WS_MAX_ARGS];        /* owned; NULL after the last */
};

/* What hangs on a Perl value. The same struct stands in connection.rs, which knows the kinds; 0 is nothing. */
struct ws_state {
    U16 kind;
    void *state;                  /* NULL: it has gone, or is another thread's */
};

/* What an XSUB does after Rust has returned. The same struct stands in after.rs. */
struct ws_after {
    SV *dispatch;                 /* owned; the object whose connection has something to dispatch, or NULL */
    const void *connection;       /* what hangs on it */
    CV *dispatch_loop;
    SV *error;                    /* to be $@ while it does; not owned */
    SV *topic;                    /* to be $_ */
    SV *returns;                  /* owned; NULL: nothing */
    SV *croak;                    /* owned; NULL: no */
    int needs_fetch;              /* fetch the arguments, and ask again; nothing has been done */
    int exiting;                  /* a callback called exit: go on with it */
    int calls;
    struct ws_sub_call call[WS_MAX_CALLS];
};

extern bool ws_rust_next_call(void *thx, const void *connection, const void *stack, struct ws_call *call);
extern void ws_rust_dispatched(void *thx, const void *connection, SV *exception, bool is_exiting, struct ws_after *after);
extern const void *ws_rust_connection(struct ws_state state);
extern SV *ws_rust_free(struct ws_state state);

struct ws_state ws_state(void *thx, SV *sv);


/* Returns true if native code may change this scalar where it is: a string, a number or undef that is not read-only, and
 * has no magic but such as perl itself hangs on strings. */
static bool is_changeable(const SV *sv)
{
    const MAGIC *mg;

    if (SvTYPE(sv) > SVt_PVMG || SvROK(sv) || SvREADONLY(sv))
        return FALSE;
    if (!SvMAGICAL(sv))
        return TRUE;
    for (mg = SvMAGIC(sv); mg; mg = mg->mg_moremagic)
        if (mg->mg_type != PERL_MAGIC_taint && mg->mg_type != PERL_MAGIC_regex_global && mg->mg_type != PERL_MAGIC_utf8)
            return FALSE;
    return TRUE;
}

/* A stack of its own keeps callbacks from leaving by `last` or `next`, past this frame. */
static void call_sub(pTHX_ const struct ws_sub_call *call)
{
    dSP;
    int i;

    PUSHSTACKi(PERLSI_MAGIC);
    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    EXTEND(SP, WS_MAX_ARGS);
    for (i = 0; i < WS_MAX_ARGS && call->args[i]; i++)
        PUSHs(call->args[i]);
    PUTBACK;
    call_pv(call->sub, G_VOID | G_DISCARD);
    FREETMPS;
    LEAVE;
    POPSTACK;
}

/* Everything Rust handed over becomes a mortal first: what follows may not come back here. */
static void adopt(pTHX_ struct ws_after *after)
{
    int i, j;

    if (after->returns) sv_2mortal(after->returns);
    if (after->croak) sv_2mortal(after->croak);
    for (i = 0; i < after->calls; i++)
        for (j = 0; j < WS_MAX_ARGS && after->call[i].args[j]; j++)
            sv_2mortal(after->call[i].args[j]);
}

static void act(pTHX_ struct ws_after *after)
{
    int i;

    adopt(aTHX_ after);
    for (i = 0; i < after->calls; i++)
        call_sub(aTHX_ &after->call[i]);
    if (after->exiting)
        JMPENV_JUMP(2);
    if (after->croak)
        croak_sv(after->croak);
}

static bool has_exception(pTHX)
{
    SV *error = ERRSV;

    return SvROK(error) || (SvPOK(error) && SvCUR(error));
}

/* Each callback gets a $_ of its own: what one leaves there must not reach the next, or whoever runs the event loop. */
static inline void renew_topic(pTHX)
{
    SV *topic = GvSV(PL_defgv);

    if (topic && SvTYPE(topic) == SVt_NULL && SvREFCNT(topic) <= 2)
        return;
    GvSV(PL_defgv) = newSV(0);
    SvREFCNT_dec(topic);
}

static inline void call_back(pTHX_ const struct ws_call *call, SV *object, SV *connection, I32 flags)
{
    dSP;
    const SSize_t depth = SP - PL_stack_base;
    int i;

    for (i = 0; i < WS_MAX_ARGS && call->owned[i]; i++)
        sv_2mortal(call->owned[i]);
    if (!call->sub && !call->method)
        return;
    if (!SvROK(connection) || SvRV(connection) != object) /* a callback has overwritten its $_[0] */
        sv_setsv(connection, sv_2mortal(newRV_inc(object)));
    renew_topic(aTHX);
    PUSHMARK(SP);
    EXTEND(SP, 1 + WS_MAX_ARGS);
    PUSHs(connection);
    for (i = 0; i < call->count; i++)
        PUSHs(call->args[i]);
    PUTBACK;
    if (call->sub)
        call_sv(call->sub, flags | G_VOID);
    else
        call_method(call->method, flags | G_VOID);
    /* Not G_DISCARD: the caller frees temporary values anyway, and an XSUB's results go with the stack. */
    PL_stack_sp = PL_stack_base + depth;
}

/* Calls back until Rust has nothing left. What a call owned is freed only when Rust has seen that it is over. */
XS_EXTERNAL(ws_xs_dispatch)
{
    dXSARGS;
    const void *state = items == 1 && SvROK(ST(0)) ? ws_rust_connection(ws_state(THX, SvRV(ST(0)))) : NULL;
    SV *connection;
    SV *object;
    struct ws_call call;

    if (!state)
        croak("not an AnyEvent::WebSocket::Connection");
    connection = ST(0);
    object = SvRV(connection);
    Zero(&call, 1, struct ws_call);
    ENTER;
    SAVETMPS;
    while (ws_rust_next_call(THX, state, PL_curstackinfo, &call)) {
        FREETMPS;
        call_back(aTHX_ &call, object, connection, 0);
    }
    FREETMPS;
    LEAVE;
    XSRETURN_EMPTY;
}

/* Each call in an eval of its own, up to the first that dies; but once there are many, one eval around all of them, for
 * which the loop has to be a sub. */
static void call_all(pTHX_ const struct ws_after *after, SV *connection)
{
    SV *object = after->dispatch;
    struct ws_call call;
    bool are_many = FALSE;

    Zero(&call, 1, struct ws_call);
    while (!are_many && ws_rust_next_call(THX, after->connection, PL_curstackinfo, &call)) {
        FREETMPS;
        call_back(aTHX_ &call, object, connection, G_EVAL);
        if (has_exception(aTHX))
            return;
        are_many = call.are_many;
    }
    if (are_many) {
        dSP;

        PUSHMARK(SP);
        XPUSHs(connection);
        PUTBACK;
        call_sv((SV *)after->dispatch_loop, G_VOID | G_DISCARD | G_EVAL);
    }
}

/* A value that has its memory already, unless a dispatch further up, or somebody else, has that. */
static SV *fresh(pTHX_ SV *kept)
{
    return SvREFCNT(kept) > 1 ? newSV(0) : SvREFCNT_inc_simple_NN(kept);
}

/* $@ and $_ are local, and a stack of their own keeps callbacks from leaving by `last` or `next`. exit is held up until the
 * trampoline has done its work. */
static void dispatch(pTHX_ struct ws_after *after)
{
    dSP;
    dXCPT;
    SV *object = after->dispatch;
    SV *connection;
    SV *exception;

    ENTER;
    connection = sv_2mortal(newRV_noinc(object));
    SvREFCNT_inc_simple_void_NN(object);
    SAVETMPS;
    SAVEGENERICSV(GvSV(PL_errgv));
    GvSV(PL_errgv) = fresh(aTHX_ after->error);
    SAVEGENERICSV(GvSV(PL_defgv));
    GvSV(PL_defgv) = fresh(aTHX_ after->topic);
    PUSHSTACKi(PERLSI_MAGIC);
    PUTBACK;
    XCPT_TRY_START {
        call_all(aTHX_ after, connection);
    } XCPT_TRY_END
    exception = !rEtV && has_exception(aTHX) ? newSVsv(ERRSV) : NULL;
    if (exception)
        sv_setpvs(ERRSV, "");
    ws_rust_dispatched(THX, after->connection, exception, rEtV != 0, after);
    if (!rEtV) {
        POPSTACK;
        FREETMPS;
        LEAVE;
    }
    sv_2mortal(object);
}

/* What a sub may still do when it leaves: these take no time worth mentioning. */
enum { LONG, BRIEF, LEAVES };
static const U8 takes[MAXO + 1] = {
    [OP_NULL] = BRIEF, [OP_STUB] = BRIEF, [OP_PUSHMARK] = BRIEF, [OP_NEXTSTATE] = BRIEF, [OP_LEAVE] = BRIEF,
    [OP_CONST] = BRIEF, [OP_PADSV] = BRIEF, [OP_PREINC] = BRIEF, [OP_POSTINC] = BRIEF,
    [OP_LEAVESUB] = LEAVES, [OP_RETURN] = LEAVES
};

/* Whether all that a sub does from `op` on is leave, with a value perhaps. */
static inline bool only_leaves(const OP *op)
{
    U8 time = LONG;

    while (op && (time = takes[op->op_type]) == BRIEF)
        op = op->op_next;
    return time == LEAVES;
}

/* Returns true if calling this XSUB is the last thing that the callback does which the dispatch loop has called on `stack`.
 * A frame that it sends may then wait for those to the messages behind: else it may be long until the callback ends, or it
 * never does. */
int ws_is_last_act(void *thx, const void *stack)
{
    TAKE_THX(thx);
    const PERL_CONTEXT *context = cxstack + cxstack_ix;
    const OP *op = PL_op;

    if (PL_curstackinfo != stack || !op || op->op_type != OP_ENTERSUB)
        return FALSE;
    op = op->op_next;
    for (; context >= cxstack; context--) {
        const U8 type = CxTYPE(context);

        if (type == CXt_EVAL || type == CXt_FORMAT || type == CXt_SUBST || type == CXt_NULL)
            return FALSE;
        if (type != CXt_SUB)
            continue;
        if (!only_leaves(op))
            return FALSE;
        op = context->blk_sub.retop;
        if (!op) /* Called from C: by us, if nothing else is on the stack but our eval. */
            return context == cxstack || (context == cxstack + 1 && CxTYPE(cxstack) == CXt_EVAL);
    }
    return FALSE;
}

/* Rust reads arguments as they stand: what tied or otherwise magical ones hold is fetched here. */
static void fetch_magical(pTHX_ SV **args, I32 items)
{
    I32 i;

    for (i = 0; i < items; i++)
        if (SvGMAGICAL(args[i]))
            args[i] = sv_mortalcopy(args[i]);
}

#define TRAMPOLINE(name)                                                     \
    extern void ws_rust_##name(void *thx, CV *cv, SV **args, I32 items,      \
                               struct ws_after *after);                      \
    XS_EXTERNAL(ws_xs_##name)                                                \
    {                                                                        \
        dXSARGS;                                                             \
        struct ws_after after;                                               \
        after.dispatch = after.returns = after.croak = NULL;                 \
        after.needs_fetch = after.exiting = after.calls = 0;                 \
        ws_rust_##name(THX, cv, &ST(0), items, &after);                      \
        if (after.needs_fetch) {                                             \
            after.needs_fetch = 0;                                           \
            fetch_magical(aTHX_ &ST(0), items);                              \
            ws_rust_##name(THX, cv, &ST(0), items, &after);                  \
        }                                                                    \
        if (after.dispatch)                                                  \
            dispatch(aTHX_ &after);                                          \
        if (after.calls || after.croak || after.exiting)                     \
            act(aTHX_ &after);                                               \
        else if (after.returns)                                              \
            sv_2mortal(after.returns);                                       \
        if (!after.returns)                                                  \
            XSRETURN_EMPTY;                                                  \
        if (items < 1)                                                       \
            EXTEND(SP, 1);                                                   \
        ST(0) = after.returns;                                               \
        XSRETURN(1);                                                         \
    }

TRAMPOLINE(send)
TRAMPOLINE(send_frame)
TRAMPOLINE(attach)
TRAMPOLINE(start)
TRAMPOLINE(is_untouched)
TRAMPOLINE(send_fragment)
TRAMPOLINE(set_streaming)
TRAMPOLINE(set_limits)
TRAMPOLINE(broadcast)
TRAMPOLINE(state)
TRAMPOLINE(traffic)
TRAMPOLINE(addresses)
TRAMPOLINE(hold)
TRAMPOLINE(watch_backlog)
TRAMPOLINE(take_read_buffer)
TRAMPOLINE(deliver_rest)
TRAMPOLINE(resume)
TRAMPOLINE(flush)
TRAMPOLINE(can_close)
TRAMPOLINE(close)
TRAMPOLINE(transport_closed)
TRAMPOLINE(answer_ping)
TRAMPOLINE(use_tls)
TRAMPOLINE(enable_deflate)
TRAMPOLINE(forget_idle_window)
TRAMPOLINE(library_version)
TRAMPOLINE(hook)

/* Whether the object's class has `send` from elsewhere than our library. */
int ws_send_is_overridden(void *thx, HV *object)
{
    TAKE_THX(thx);
    GV *gv = gv_fetchmethod(SvSTASH((SV *)object), "send");

    return gv && CvXSUB(GvCV(gv)) != ws_xs_send;
}

/* Another number whenever a method may have changed: in all classes, in a parent of this one, or in this one. */
static inline U32 class_generation(pTHX_ HV *class)
{
    struct mro_meta *meta = HvMROMETA(class);

    return PL_sub_generation + meta->cache_gen + meta->pkg_gen;
}

U32 ws_class_generation(void *thx, HV *class)
{
    TAKE_THX(thx);

    return class_generation(aTHX_ class);
}

/* Whether the object is of this class, and the class is as it was when it had this number. */
int ws_is_of_class(void *thx, HV *object, HV *class, U32 generation)
{
    TAKE_THX(thx);

    return SvOBJECT((SV *)object) && SvSTASH((SV *)object) == class
        && class_generation(aTHX_ class) == generation;
}

/* Whether the method that the class has by this name is Perl code from a file whose path ends so. */
int ws_is_defined_in(void *thx, HV *class, const char *name, const char *file)
{
    TAKE_THX(thx);
    GV *gv = gv_fetchmeth_pv(class, name, 0, 0);
    const CV *cv = gv ? GvCV(gv) : NULL;
    const char *path = cv && !CvISXSUB(cv) ? CvFILE(cv) : NULL;
    const STRLEN path_len = path ? strlen(path) : 0;
    const STRLEN file_len = strlen(file);

    return path_len >= file_len && strEQ(path + path_len - file_len, file);
}

int ws_has_destructor(void *thx, HV *class)
{
    TAKE_THX(thx);

    return gv_fetchmeth_pvn(class, "DESTROY", 7, 0, 0) != NULL;
}

/* What a handle's fh stands for; NULL if it is no file handle. */
IO *ws_io(void *thx, SV *fh)
{
    TAKE_THX(thx);

    if (SvROK(fh))
        fh = SvRV(fh);
    if (isGV_with_GP(fh))
        return GvIO((GV *)fh);
    return SvTYPE(fh) == SVt_PVIO ? (IO *)fh : NULL;
}

/* Its descriptor; -1 if it has none that read(2) could use. */
int ws_fileno(void *thx, IO *io)
{
    TAKE_THX(thx);

    if (!io || !IoIFP(io) || SvRMAGICAL((SV *)io))
        return -1;
    return PerlIO_fileno(IoIFP(io));
}

/* The descriptor of a handle's fh; -1 if it has none that read(2) could use. */
int ws_fd(void *thx, SV *fh)
{
    return ws_fileno(thx, ws_io(thx, fh));
}

/* A socket takes recv(2) and send(2), which do what read(2) and write(2) do, less what the kernel does for files. What is
 * none says so, which is nothing that went wrong. */
#define TRANSFER(name, memory, on_socket, on_file)                           \
    ssize_t name(int fd, memory *start, size_t len)                          \
    {                                                                        \
        const int before = errno;                                            \
        ssize_t count = on_socket(fd, start, len, 0);                        \
        if (count < 0 && errno == ENOTSOCK) {                                \
            errno = before;                                                  \
            count = on_file(fd, start, len);                                 \
        }                                                                    \
        return outcome(count, before);                                       \
    }

/* What a system call returned, or its negative errno; the program's own $! is left alone. */
static ssize_t outcome(ssize_t count, int before)
{
    const int error = errno;

    if (count >= 0)
        return count;
    errno = before;
    return -error;
}

#define WS_ADDRESSES_SIZE 256
STATIC_ASSERT_DECL(WS_ADDRESSES_SIZE >= 2 * sizeof(struct sockaddr_storage));

TRANSFER(ws_read, void, recv, read)
TRANSFER(ws_write, const void, send, write)

/* Writes the addresses of a socket's peer and of its own end, packed, one after the other; there is room for
 * WS_ADDRESSES_SIZE bytes. What has none, or is no socket, has empty ones. */
void ws_addresses(int fd, char *out, size_t len[2])
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

/* The same for two pieces of memory, one after the other. */
ssize_t ws_write_both(int fd, const void *first, size_t first_len, const void *second, size_t second_len)
{
    const int before = errno;
    struct iovec pieces[2];

    pieces[0].iov_base = (void *)first;
    pieces[0].iov_len = first_len;
    pieces[1].iov_base = (void *)second;
    pieces[1].iov_len = second_len;
    return outcome(writev(fd, pieces, 2), before);
}

/* Whether AnyEvent::Handle has destroyed a handle. */
int ws_is_destroyed(void *thx, HV *handle)
{
    TAKE_THX(thx);
    const char *name = SvOBJECT((SV *)handle) ? HvNAME_get(SvSTASH((SV *)handle)) : NULL;

    return name && strEQ(name, "AnyEvent::Handle::destroyed");
}

/* Makes room to append to a string of octets, which afterwards shares its memory with no copy. Returns NULL if the scalar
 * is not a string of octets, or may not be changed. */
char *ws_reserve(void *thx, SV *sv, STRLEN extra)
{
    TAKE_THX(thx);

    if (!is_changeable(sv))
        return NULL;
    if (SvIsCOW(sv))
        sv_force_normal_flags(sv, 0);
    if (!SvOK(sv))
        sv_setpvs(sv, "");
    else if (!SvPOK(sv))
        (void)sv_pvn_force_flags(sv, NULL, 0);
    if (SvUTF8(sv)) {
        const bool was_tainted = cBOOL(TAINT_get);
        const bool is_octets = sv_utf8_downgrade(sv, TRUE);

        TAINT_set(was_tainted); /* looking at a tainted string taints the rest of perl's statement */
        if (!is_octets)
            return NULL;
    }
    (void)SvPOK_only(sv);
    return SvGROW(sv, SvCUR(sv) + extra + 1);
}

/* Sets the length of a string from ws_reserve; set magic only makes perl forget what it has noted about the string. */
void ws_set_length(void *thx, SV *sv, STRLEN len)
{
    TAKE_THX(thx);

    SvCUR_set(sv, len);
    *SvEND(sv) = '\0';
    SvSETMAGIC(sv);
}

/* Empties a string. Memory beyond `keep` bytes is given back, and memory shared with a copy is left to the copy. */
void ws_empty(void *thx, SV *sv, STRLEN keep)
{
    TAKE_THX(thx);

    if (!is_changeable(sv))
        return;
    if (SvIsCOW(sv)) {
        sv_force_normal_flags(sv, SV_COW_DROP_PV);
        sv_setpvs(sv, "");
    } else if (SvLEN(sv) > keep) {
        SvOOK_off(sv);
        SvPV_free(sv);
        SvPV_set(sv, NULL);
        SvLEN_set(sv, 0);
        (void)SvGROW(sv, 16);
    }
    ws_set_length(thx, sv, 0);
}

/* Returns the value in a slot, which is made if need be and `is_lvalue` says so; NULL if there is none. A locked hash has
 * only the slots it has, and a tied one has none, so that perl neither dies nor calls anything. */
SV *ws_fetch(void *thx, HV *hash, const char *key, I32 len, U32 hashed, bool is_lvalue)
{
    TAKE_THX(thx);
    SV **slot;

    if (SvRMAGICAL((SV *)hash) && mg_find((SV *)hash, PERL_MAGIC_tied))
        return NULL;
    if (SvREADONLY((SV *)hash) && !hv_exists(hash, key, len))
        return NULL;
    slot = (SV **)hv_common_key_len(hash, key, len, HV_FETCH_JUST_SV | (is_lvalue ? HV_FETCH_LVALUE : 0), NULL, hashed);
    return slot ? *slot : NULL;
}

static void set_number(pTHX_ SV *sv, NV number)
{
    const U32 looked_at = SVf_IOK | SVp_IOK | SVf_NOK | SVp_NOK | SVf_POK | SVp_POK | SVf_THINKFIRST | SVs_GMG | SVs_SMG;

    if ((SvFLAGS(sv) & looked_at) == (SVf_NOK | SVp_NOK)) /* as it was left by the last call */
        SvNV_set(sv, number);
    else if (is_changeable(sv))
        sv_setnv(sv, number);
}

/* Notes a time in slots of a handle; NULL for one that is not there. What a program has made read-only stays. */
void ws_set_times(void *thx, SV *first, SV *second, double seconds)
{
    TAKE_THX(thx);

    if (first)
        set_number(aTHX_ first, (NV)seconds);
    if (second)
        set_number(aTHX_ second, (NV)seconds);
}

/* Returns true under perl -T. */
int ws_is_tainting(void *thx)
{
    TAKE_THX(thx);

    return cBOOL(TAINTING_get);
}

/* Marks a new value as come from outside. */
void ws_taint(void *thx, SV *sv)
{
    TAKE_THX(thx);

    SvTAINTED_on(sv);
}

/* Takes the memory of a plain string that nobody else has, and leaves it without a value. */
char *ws_take_buffer(SV *sv, STRLEN *capacity)
{
    char *buffer = SvPVX(sv);

    *capacity = SvLEN(sv);
    SvPV_set(sv, NULL);
    SvLEN_set(sv, 0);
    SvCUR_set(sv, 0);
    (void)SvOK_off(sv);
    return buffer;
}

static MAGIC *state_magic(pTHX_ SV *sv);

/* A connection's object goes, and its hook with it. Its handle goes too if only the object and its magic hold it. If it
 * stays, and the hook still watches it, the hook has the handle read for itself. */
static void leave_handle(pTHX_ HV *handle, SV *hook)
{
    MAGIC *mg;

    if (SvREFCNT((SV *)handle) <= 2) {
        (void)hv_delete(handle, "_rw", 3, G_DISCARD);
    } else if ((mg = state_magic(aTHX_ hook)) && !mg->mg_obj) {
        mg->mg_obj = sv_rvweaken(newRV_inc((SV *)handle));
        mg->mg_flags |= MGf_REFCOUNTED;
    }
}

/* Ext magic ties Rust state to a Perl value: freed with it, and absent from its copy in another thread. An object's has
 * the handle as its mg_obj; that of a hook whose connection has gone, a weak reference to the handle. */
static int state_free(pTHX_ SV *sv, MAGIC *mg)
{
    struct ws_state state = { mg->mg_private, mg->mg_ptr };
    SV *hook;

    PERL_UNUSED_VAR(sv);
    if (!mg->mg_ptr)
        return 0;
    hook = ws_rust_free(state);
    mg->mg_ptr = NULL;
    if (hook && mg->mg_obj && !PL_dirty)
        leave_handle(aTHX_ (HV *)mg->mg_obj, hook);
    SvREFCNT_dec(hook);
    return 0;
}

#ifdef USE_ITHREADS
static int state_dup(pTHX_ MAGIC *mg, CLONE_PARAMS *params)
{
    PERL_UNUSED_VAR(params);
    mg->mg_ptr = NULL;
    return 0;
}
#else
#  define state_dup NULL
#endif

static const MGVTBL state_vtbl = { NULL, NULL, NULL, NULL, state_free, NULL, state_dup, NULL };

/* `keeps`, if any, lives as long as `sv` does. */
void ws_state_attach(void *thx, SV *sv, struct ws_state state, SV *keeps)
{
    TAKE_THX(thx);
    MAGIC *mg = sv_magicext(sv, keeps, PERL_MAGIC_ext, &state_vtbl, state.state, 0);

    mg->mg_private = state.kind;
#ifdef USE_ITHREADS
    mg->mg_flags |= MGf_DUP;
#endif
}

static MAGIC *state_magic(pTHX_ SV *sv)
{
    MAGIC *mg = SvTYPE(sv) < SVt_PVMG ? NULL : SvMAGIC(sv);

    return mg && mg->mg_virtual != &state_vtbl ? mg_findext(sv, PERL_MAGIC_ext, &state_vtbl) : mg;
}

/* The handle that a hook's connection has left behind, if it is still there. */
HV *ws_left_handle(void *thx, SV *hook)
{
    TAKE_THX(thx);
    const MAGIC *mg = state_magic(aTHX_ hook);

    return mg && mg->mg_obj && SvROK(mg->mg_obj) ? (HV *)SvRV(mg->mg_obj) : NULL;
}

/* What hangs on `sv`. */
struct ws_state ws_state(void *thx, SV *sv)
{
    TAKE_THX(thx);
    struct ws_state state = { 0, NULL };
    MAGIC *mg = state_magic(aTHX_ sv);

    if (mg) {
        state.kind = mg->mg_private;
        state.state = mg->mg_ptr;
    }
    return state;
}

/* An anonymous sub that finds its connection through its magic. */
SV *ws_new_hook(void *thx, struct ws_state state)
{
    TAKE_THX(thx);
    CV *sub = newXS(NULL, ws_xs_hook, __FILE__);

    ws_state_attach(thx, (SV *)sub, state, NULL);
    return newRV_noinc((SV *)sub);
}

int ws_wants_value(void *thx)
{
    TAKE_THX(thx);

    return GIMME_V != G_VOID;
}

/* `message at FILE line N.`, where perl is now. */
SV *ws_located(void *thx, const char *text, STRLEN len)
{
    TAKE_THX(thx);

    return newSVsv(mess_sv(newSVpvn_flags(text, len, SVs_TEMP), TRUE));
}

/* Registers the XSUBs: what xs_boot! writes. */
extern void boot_AnyEvent__WebSocket__Native__Subs(pTHX_ CV *cv);

/* xs_boot! leaves out the handshake, by which perl refuses a library built for another perl and learns the file name
 * that newXS_deffile() needs, and it returns to a fixed stack position: so it gets a stack of its own. */
void ws_boot(pTHX_ CV *cv)
{
    dXSBOOTARGSAPIVERCHK;
    PERL_UNUSED_VAR(items);
    PUSHSTACKi(PERLSI_UNKNOWN);
    PUTBACK;
    boot_AnyEvent__WebSocket__Native__Subs(aTHX_ cv);
    SPAGAIN;
    POPSTACK;
    PUTBACK;
    Perl_xs_boot_epilog(aTHX_ ax);
}
