/* Every call that may run Perl code, and every croak.
 *
 * Perl's longjmp never meets a Rust frame, because none is on the stack while Perl code runs: an XSUB is a trampoline
 * that asks Rust what to do (struct ws_after), and does it once Rust has returned. Callbacks are called by a loop that
 * asks Rust for one after the other (struct ws_call).
 */
#include "glue.h"



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
    while (ws_rust_next_call(state, PL_curstackinfo, &call)) {
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
    bool is_burst = FALSE;

    Zero(&call, 1, struct ws_call);
    while (!is_burst && ws_rust_next_call(after->connection, PL_curstackinfo, &call)) {
        FREETMPS;
        call_back(aTHX_ &call, object, connection, G_EVAL);
        if (has_exception(aTHX))
            return;
        is_burst = call.is_burst;
    }
    if (is_burst) {
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
    ws_rust_dispatched(after->connection, exception, rEtV != 0, after);
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
bool ws_is_last_act(PerlInterpreter *perl, const void *stack)
{
    TAKE_THX(perl);
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

/* The one trampoline of all XSUBs: which one it is stands in the sub. */
XS_EXTERNAL(ws_xs_call)
{
    dXSARGS;
    const struct ws_xsub *xsub = (const struct ws_xsub *)CvXSUBANY(cv).any_ptr;
    struct ws_after after;

    after.dispatch = after.returns = after.croak = NULL;
    after.needs_fetch = after.exiting = FALSE;
    after.calls = 0;
    xsub->body(THX, cv, &ST(0), items, &after);
    if (after.needs_fetch) {
        after.needs_fetch = FALSE;
        fetch_magical(aTHX_ &ST(0), items);
        xsub->body(THX, cv, &ST(0), items, &after);
    }
    if (after.dispatch)
        dispatch(aTHX_ &after);
    if (after.calls || after.croak || after.exiting)
        act(aTHX_ &after);
    else if (after.returns)
        sv_2mortal(after.returns);
    if (!after.returns)
        XSRETURN_EMPTY;
    if (items < 1)
        EXTEND(SP, 1);
    ST(0) = after.returns;
    XSRETURN(1);
}

/* Whether a method of the object is an XSUB of ours. */
bool ws_has_xsub(PerlInterpreter *perl, HV *object, const char *method, const struct ws_xsub *xsub)
{
    TAKE_THX(perl);
    const GV *gv = gv_fetchmethod(SvSTASH((SV *)object), method);
    const CV *cv = gv ? GvCV(gv) : NULL;

    return cv && CvISXSUB(cv) && CvXSUB(cv) == ws_xs_call && CvXSUBANY(cv).any_ptr == (void *)xsub;
}

bool ws_wants_value(PerlInterpreter *perl)
{
    TAKE_THX(perl);

    return GIMME_V != G_VOID;
}

/* `message at FILE line N.`, where perl is now. */
SV *ws_located(PerlInterpreter *perl, const char *text, STRLEN len)
{
    TAKE_THX(perl);

    return newSVsv(mess_sv(newSVpvn_flags(text, len, SVs_TEMP), TRUE));
}

/* What XSLoader calls. The handshake lets perl refuse a library that was built for another perl. */
void ws_boot(PerlInterpreter *perl, CV *cv)
{
    TAKE_THX(perl);
    dXSBOOTARGSAPIVERCHK;
    const struct ws_xsub *xsub;

    PERL_UNUSED_VAR(items);
    for (xsub = ws_rust_xsubs; xsub->name; xsub++)
        CvXSUBANY(newXS(xsub->name, ws_xs_call, "xsubs.rs")).any_ptr = (void *)xsub;
    newXS("AnyEvent::WebSocket::Connection::_dispatch", ws_xs_dispatch, __FILE__);
    Perl_xs_boot_epilog(aTHX_ ax);
}
