/* What C and Rust share. The build reads this file twice: C includes it from glue.h, and bindgen makes Rust's declarations
 * of it, for perl/ffi.rs. So it names perl's types, but includes none of perl's headers.
 *
 * Each function's contract stands where it is defined. `perl` is the interpreter; a perl that has only one ignores it.
 */
#ifndef WS_INTERFACE_H
#define WS_INTERFACE_H

#define WS_MAX_CALLS 8
#define WS_MAX_ARGS 3
#define WS_ADDRESSES_SIZE 256

/** What the dispatch loop calls next. */
struct ws_call {
    /** A code reference, or NULL for a method. */
    SV *sub;
    /** The name of a method; if there is neither, nothing is called. */
    const char *method;
    /** What it is called with, behind the connection. */
    SV *args[WS_MAX_ARGS];
    int count;
    /** The first of `owned` is a message, to be made into the next one if the callbacks let it go. */
    bool has_message;
    /** More than one frame is to be dispatched. */
    bool is_burst;
    /** What is freed after the call; NULL after the last. */
    SV *owned[WS_MAX_ARGS];
};

/** A Perl sub of the shim to call. */
struct ws_sub_call {
    /** Its full name. */
    const char *sub;
    /** Owned; NULL after the last. */
    SV *args[WS_MAX_ARGS];
};

/** What hangs on a Perl value's magic. */
struct ws_state {
    /** Which of Rust's types it is; 0 is none. */
    U16 kind;
    /** NULL if it has gone, or is another thread's. */
    const void *state;
};

/** What an XSUB does after Rust has returned: filled in by Rust, carried out by the trampoline. */
struct ws_after {
    /** The object whose connection has something to dispatch, owned; or NULL. */
    SV *dispatch;
    /** What hangs on that. */
    const void *connection;
    CV *dispatch_loop;
    /** Is $@ during the dispatch; not owned. */
    SV *error;
    /** Is $_ during the dispatch; not owned. */
    SV *topic;
    /** Owned; NULL to return nothing. */
    SV *returns;
    /** Owned; NULL not to die. */
    SV *croak;
    /** Nothing has been done: fetch what tied arguments hold, and ask again. */
    bool needs_fetch;
    /** A callback has called exit: go on with that. */
    bool exiting;
    int calls;
    struct ws_sub_call call[WS_MAX_CALLS];
};

/** An XSUB: what the trampoline calls. */
struct ws_xsub {
    void (*body)(PerlInterpreter *perl, CV *cv, SV **args, I32 items, struct ws_after *after);
    /** The full name of the Perl sub; NULL after the last of the table, and for the hook, which has none. */
    const char *name;
};

/* values.c */
SV *ws_new_undef(PerlInterpreter *perl);
SV *ws_new_string(PerlInterpreter *perl, const char *start, STRLEN len);
SV *ws_new_number(PerlInterpreter *perl, unsigned long long number);
SV *ws_new_reference(PerlInterpreter *perl, SV *sv);
SV *ws_new_copy(PerlInterpreter *perl, SV *sv);
SV *ws_new_array(PerlInterpreter *perl, SV *const *values, STRLEN count);
SV *ws_new_object(PerlInterpreter *perl, HV *class);
SV *ws_new_string_in(PerlInterpreter *perl, char *start, STRLEN len, STRLEN capacity);
void ws_free_later(PerlInterpreter *perl, SV *sv);
void *ws_realloc(void *start, STRLEN size);
void ws_free(void *start);
void ws_set_string(PerlInterpreter *perl, SV *sv, const char *start, STRLEN len);
void ws_chop(PerlInterpreter *perl, SV *sv, STRLEN count);
SV *ws_shift(PerlInterpreter *perl, AV *array);
void ws_replace_element(PerlInterpreter *perl, AV *array, SSize_t index, SV *value);
HV *ws_class(PerlInterpreter *perl, const char *name);
CV *ws_sub(PerlInterpreter *perl, const char *name);
HEK *ws_shared_key(PerlInterpreter *perl, const char *name, I32 len);
void ws_store(PerlInterpreter *perl, HV *hash, const char *key, I32 len, U32 hashed, SV *value);
SV *ws_fetch(PerlInterpreter *perl, HV *hash, const char *key, I32 len, U32 hashed, bool is_lvalue);
char *ws_reserve(PerlInterpreter *perl, SV *sv, STRLEN extra);
void ws_set_length(PerlInterpreter *perl, SV *sv, STRLEN len);
void ws_empty(PerlInterpreter *perl, SV *sv, STRLEN keep);
char *ws_take_buffer(SV *sv, STRLEN *capacity);
void ws_set_times(PerlInterpreter *perl, SV *first, SV *second, double seconds);
bool ws_is_tainting(PerlInterpreter *perl);
void ws_taint(PerlInterpreter *perl, SV *sv);
U32 ws_class_generation(PerlInterpreter *perl, HV *class);
bool ws_is_of_class(PerlInterpreter *perl, HV *object, HV *class, U32 generation);
bool ws_is_defined_in(PerlInterpreter *perl, HV *class, const char *name, const char *file);
bool ws_has_destructor(PerlInterpreter *perl, HV *class);
bool ws_is_destroyed(PerlInterpreter *perl, HV *handle);

/* state.c */
void ws_state_attach(PerlInterpreter *perl, SV *sv, struct ws_state state, SV *keeps);
struct ws_state ws_state(PerlInterpreter *perl, SV *sv);
void ws_watch_reads(PerlInterpreter *perl, SV *sv, struct ws_state state);
bool ws_has_watched_reads(SV *sv);
HV *ws_left_handle(PerlInterpreter *perl, SV *hook);
SV *ws_new_hook(PerlInterpreter *perl, const struct ws_xsub *xsub, struct ws_state state);

/* calls.c */
void ws_boot(PerlInterpreter *perl, CV *cv);
bool ws_has_xsub(PerlInterpreter *perl, HV *object, const char *method, const struct ws_xsub *xsub);
bool ws_is_last_act(PerlInterpreter *perl, const void *stack);
bool ws_wants_value(PerlInterpreter *perl);
SV *ws_located(PerlInterpreter *perl, const char *text, STRLEN len);

/* system.c */
IO *ws_io(PerlInterpreter *perl, SV *fh);
int ws_fd(PerlInterpreter *perl, SV *fh);
SSize_t ws_read(int fd, void *start, STRLEN len);
SSize_t ws_write(int fd, const void *start, STRLEN len);
SSize_t ws_write_both(int fd, const void *first, STRLEN first_len, const void *second, STRLEN second_len);
void ws_addresses(int fd, char *out, STRLEN len[2]);

/* xsubs.rs */
bool ws_rust_next_call(const void *connection, const void *stack, struct ws_call *call);
void ws_rust_dispatched(const void *connection, SV *exception, bool is_exiting, struct ws_after *after);
const void *ws_rust_connection(struct ws_state state);
void ws_rust_before_read(struct ws_state state);
SV *ws_rust_free(struct ws_state state);
extern const struct ws_xsub ws_rust_xsubs[];

#endif
