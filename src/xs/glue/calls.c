/* Every call that may run Perl code, and every croak.
 *
 * Perl's longjmp never skips a Rust frame, because none is on the stack while Perl code runs. An XSUB is a
 * trampoline: it asks Rust what to do (struct ws_after), and does it after Rust has returned. A loop calls the
 * callbacks, and asks Rust for each (struct ws_call). */
#include "glue.h"



/* Uses a separate stack, so that a callback cannot leave this frame with `last` or `next`. */
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

/* Makes mortal all values that Rust handed over, because the actions that follow may not return. */
static void adopt(pTHX_ struct ws_after *after)
{
    int i, j;

    if (after->returns) sv_2mortal(after->returns);
    if (after->croak) sv_2mortal(after->croak);
    for (i = 0; i < after->calls; i++)
        for (j = 0; j < WS_MAX_ARGS && after->call[i].args[j]; j++)
            sv_2mortal(after->call[i].args[j]);
}

static void carry_out(pTHX_ struct ws_after *after)
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

/* Gives each callback its own $_: its changes must not reach the next callback, or the code that runs the event
 * loop. */
static inline void renew_topic(pTHX)
{
    SV *topic = GvSV(PL_defgv);

    if (topic && SvTYPE(topic) == SVt_NULL && SvREFCNT(topic) <= 2)
        return;
    GvSV(PL_defgv) = newSV(0);
    SvREFCNT_dec(topic);
}

/* Returns `connection`, a reference to `object`; or another one, if a callback has overwritten it through its $_[0]. */
static inline SV *intact(pTHX_ SV *connection, SV *object)
{
    return SvROK(connection) && SvRV(connection) == object ? connection : sv_2mortal(newRV_inc(object));
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
    renew_topic(aTHX);
    PUSHMARK(SP);
    EXTEND(SP, 1 + WS_MAX_ARGS);
    PUSHs(intact(aTHX_ connection, object));
    for (i = 0; i < call->count; i++)
        PUSHs(call->args[i]);
    PUTBACK;
    if (call->sub)
        call_sv(call->sub, flags | G_VOID);
    else
        call_method(call->method, flags | G_VOID);
    /* G_DISCARD is not needed: the caller frees temporary values, and resetting the stack drops the results. */
    PL_stack_sp = PL_stack_base + depth;
}

/* Calls callbacks until Rust has no more. The values of a call are freed only after Rust has been told of its end. */
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

/* Returns an anonymous sub that is the dispatch loop: no program can call it. */
CV *ws_new_dispatch_loop(PerlInterpreter *perl)
{
    TAKE_THX(perl);

    return newXS(NULL, ws_xs_dispatch, __FILE__);
}

/* Calls callbacks, each in an eval of its own, up to the first that dies. In a burst a single eval surrounds all
 * calls that are left, because an eval per call is slow; so the loop in it has to be a sub. */
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
        XPUSHs(intact(aTHX_ connection, object));
        PUTBACK;
        call_sv((SV *)after->dispatch_loop, G_VOID | G_DISCARD | G_EVAL);
    }
}

/* Reuses the value `kept` with its memory, unless an outer dispatch or some other code still holds it. */
static SV *reuse_or_new(pTHX_ SV *kept)
{
    return SvREFCNT(kept) > 1 ? newSV(0) : SvREFCNT_inc_simple_NN(kept);
}

/* Makes the scalar of a glob local, and returns the glob's memory, which stays until it is given to release(): leaving the
 * scope writes to it, also if a callback has replaced the glob (`*_ = \*other`). */
static GP *localize(pTHX_ GV *gv, SV *kept)
{
    GP *gp = gp_ref(GvGP(gv));

    SAVEGENERICSV(GvSV(gv));
    GvSV(gv) = reuse_or_new(aTHX_ kept);
    return gp;
}

/* Gives up the reference count of localize() before the scope is left, which `exit` does. Returns false, and leaks the
 * memory of the glob, if a callback has replaced it. */
static bool release_early(GV *gv, GP *gp)
{
    if (GvGP(gv) != gp)
        return FALSE;
    gp->gp_refcnt--;
    return TRUE;
}

/* Gives up the reference count of localize() after the scope was left. */
static void release(pTHX_ GV *gv, GP *gp)
{
    GP *now = GvGP(gv);

    if (release_early(gv, gp))
        return;
    GvGP_set(gv, gp);
    gp_free(gv);
    GvGP_set(gv, now);
}

/* Runs the dispatch loop with local $@ and $_, and with a separate stack, so that a callback cannot leave it with
 * `last` or `next`. An exit in a callback is delayed until the trampoline has done its work. */
static void dispatch(pTHX_ struct ws_after *after)
{
    dSP;
    dXCPT;
    SV *object = after->dispatch;
    GP *error_gp;
    GP *topic_gp;
    SV *connection;
    SV *exception;

    ENTER;
    connection = sv_2mortal(newRV_noinc(object));
    SvREFCNT_inc_simple_void_NN(object);
    SAVETMPS;
    error_gp = localize(aTHX_ PL_errgv, after->error);
    topic_gp = localize(aTHX_ PL_defgv, after->topic);
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
        release(aTHX_ PL_errgv, error_gp);
        release(aTHX_ PL_defgv, topic_gp);
    } else {
        (void)release_early(PL_errgv, error_gp);
        (void)release_early(PL_defgv, topic_gp);
    }
    sv_2mortal(object);
}

/* How long an op takes that may run between the call of an XSUB and the end of the sub. BRIEF ones take no time
 * worth mentioning. */
enum { LONG, BRIEF, LEAVES };
static const U8 takes[MAXO + 1] = {
    [OP_NULL] = BRIEF, [OP_STUB] = BRIEF, [OP_PUSHMARK] = BRIEF, [OP_NEXTSTATE] = BRIEF, [OP_LEAVE] = BRIEF,
    [OP_CONST] = BRIEF, [OP_PADSV] = BRIEF, [OP_PREINC] = BRIEF, [OP_POSTINC] = BRIEF,
    [OP_LEAVESUB] = LEAVES, [OP_RETURN] = LEAVES
};

/* Returns true if from `op` on the sub only returns, perhaps with a value. */
static inline bool only_leaves(const OP *op)
{
    U8 time = LONG;

    while (op && (time = takes[op->op_type]) == BRIEF)
        op = op->op_next;
    return time == LEAVES;
}

/* Returns true if calling this XSUB is the last act of the callback that the dispatch loop has called on `stack`.
 * Only then may a frame that it sends wait for later replies: otherwise the callback may go on for long, or forever. */
bool ws_is_tail_call(PerlInterpreter *perl, const void *stack)
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
        if (!op) /* Called from C: by the dispatch loop, if there is at most its eval below. */
            return context == cxstack || (context == cxstack + 1 && CxTYPE(cxstack) == CXt_EVAL);
    }
    return FALSE;
}

/* Replaces tied and otherwise magical arguments by copies of their values, because Rust only reads plain ones. */
static void fetch_magical(pTHX_ SV **args, I32 items)
{
    I32 i;

    for (i = 0; i < items; i++)
        if (SvGMAGICAL(args[i]))
            args[i] = sv_mortalcopy(args[i]);
}

/* The trampoline of all XSUBs. The sub itself says which of them it is. */
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
        carry_out(aTHX_ &after);
    else if (after.returns)
        sv_2mortal(after.returns);
    if (!after.returns)
        XSRETURN_EMPTY;
    if (items < 1)
        EXTEND(SP, 1);
    ST(0) = after.returns;
    XSRETURN(1);
}

/* Returns true if a method of the object is this XSUB. */
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

/* Returns `text at FILE line N.`, with perl's current place. */
SV *ws_located(PerlInterpreter *perl, const char *text, STRLEN len)
{
    TAKE_THX(perl);

    return newSVsv(mess_sv(newSVpvn_flags(text, len, SVs_TEMP), TRUE));
}

/* Installs the XSUBs; called when XSLoader loads the library. The handshake lets perl refuse a library that was
 * built for another perl. */
void ws_boot(PerlInterpreter *perl, CV *cv)
{
    TAKE_THX(perl);
    dXSBOOTARGSAPIVERCHK;
    const struct ws_xsub *xsub;

    PERL_UNUSED_VAR(items);
    for (xsub = ws_rust_xsubs; xsub->name; xsub++)
        CvXSUBANY(newXS(xsub->name, ws_xs_call, "xsubs.rs")).any_ptr = (void *)xsub;
    Perl_xs_boot_epilog(aTHX_ ax);
}
