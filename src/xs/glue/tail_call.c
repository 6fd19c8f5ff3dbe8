/* Recognizes a send that is the last act of its callback. */
#include "glue.h"

/* How far an op between the XSUB's call and the end of the sub may delay the return. */
enum { OTHER, TRIVIAL, RETURNS };
static const U8 op_class[MAXO + 1] = {
    [OP_NULL] = TRIVIAL, [OP_STUB] = TRIVIAL, [OP_PUSHMARK] = TRIVIAL, [OP_NEXTSTATE] = TRIVIAL, [OP_LEAVE] = TRIVIAL,
    [OP_CONST] = TRIVIAL, [OP_PADSV] = TRIVIAL, [OP_PREINC] = TRIVIAL, [OP_POSTINC] = TRIVIAL,
    [OP_LEAVESUB] = RETURNS, [OP_RETURN] = RETURNS
};

/* Returns true if from `op` on the sub only returns, perhaps with a value. */
static inline bool only_returns(const OP *op)
{
    U8 kind = OTHER;

    while (op && (kind = op_class[op->op_type]) == TRIVIAL)
        op = op->op_next;
    return kind == RETURNS;
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
        if (!only_returns(op))
            return FALSE;
        op = context->blk_sub.retop;
        if (!op) /* Called from C: by the dispatch loop, if there is at most its eval below. */
            return context == cxstack || (context == cxstack + 1 && CxTYPE(cxstack) == CXt_EVAL);
    }
    return FALSE;
}
