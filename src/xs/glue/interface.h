/* The interface between C and Rust. The build reads this file twice: glue.h includes it, and bindgen makes Rust
 * declarations of it for perl/ffi.rs. So it uses perl's types, but includes none of perl's headers.
 *
 * Each function's contract is at its definition, unless its name says everything. `perl` is the interpreter; a perl that has only one ignores it. */
#ifndef WS_INTERFACE_H
#define WS_INTERFACE_H

#define WS_MAX_CALLS 8
#define WS_MAX_ARGS 3
#define WS_ADDRESSES_SIZE 256
#define WS_FILE_ADDRESSES 6
#define WS_FOOTPRINT 64

/** The kind of a call that the dispatch loop makes. */
enum ws_call_kind {
    /** Nothing: the values are only freed. */
    WS_NOTHING,
    /** `sub`, a message callback of the program. */
    WS_CALLBACK,
    /** `sub`, if there is one, without the connection; then a burst begins: more than one complete frame is buffered. */
    WS_BEGIN_BURST,
    /** The sub of the Perl half with this name. */
    WS_PERL_SUB,
    /** The connection's method with this name. */
    WS_METHOD
};

/** The next call of the dispatch loop. */
struct ws_call {
    enum ws_call_kind kind;
    /** The sub, or NULL. */
    SV *sub;
    /** The name, or NULL. */
    const char *name;
    /** The arguments, after the connection. */
    SV *args[WS_MAX_ARGS];
    /** The number of these arguments. */
    int count;
    /** The values to free after the call; NULL after the last. For WS_NOTHING and WS_CALLBACK the first is a message, which is
     * reused if nothing else holds it. */
    SV *owned[WS_MAX_ARGS];
};

/** A call of a sub of the Perl half, or of EV's. */
struct ws_sub_call {
    /** The sub's full name, or NULL. */
    const char *name;
    /** Otherwise a reference to the sub; not owned. */
    SV *sub;
    /** The arguments, owned; NULL after the last. */
    SV *args[WS_MAX_ARGS];
};

/** The Rust state that hangs on a Perl value's magic. */
struct ws_state {
    /** Its Rust type; 0 if there is no state. */
    U16 kind;
    /** The state; NULL if it was freed or belongs to another thread. */
    const void *state;
};

/** What an XSUB does after Rust has returned. Rust fills it in, and the trampoline carries it out. */
struct ws_after {
    /** The object whose connection has something to dispatch, owned; or NULL. */
    SV *dispatch;
    /** The connection of that object. */
    const void *connection;
    /** The sub that calls the callbacks of a burst. */
    CV *dispatch_loop;
    /** The value of $@ during the dispatch; not owned. */
    SV *error;
    /** The place of the value of $_ during the dispatch. */
    SV **topic;
    /** The value to return, owned; or NULL. */
    SV *returns;
    /** The exception to die with, owned; or NULL. */
    SV *croak;
    /** Rust has done nothing so far: fetch the values of tied arguments, and run it again. */
    bool needs_fetch;
    /** A callback called exit: continue with that. */
    bool exiting;
    /** A call to make as soon as the dispatch has ended, before anything else that may run Perl code; or nothing. */
    struct ws_sub_call first;
    /** The number of other calls to make. */
    int calls;
    /** The calls, in order. */
    struct ws_sub_call call[WS_MAX_CALLS];
};

/** An XSUB, as the trampoline sees it. */
struct ws_xsub {
    void (*body)(PerlInterpreter *perl, CV *cv, SV **args, I32 items, struct ws_after *after);
    /** The Perl sub's full name; NULL in the last row of the table, and for the handle callback, which is anonymous. */
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

/* classes.c */
U32 ws_class_generation(PerlInterpreter *perl, HV *class);
U32 ws_generation_of(PerlInterpreter *perl, const char *name);
bool ws_is_of_class(PerlInterpreter *perl, HV *object, HV *class, U32 generation);
bool ws_is_defined_in(PerlInterpreter *perl, HV *class, const char *name, const char *package, const char *file);
bool ws_has_sub(PerlInterpreter *perl, const char *package, const char *name, const char *file);
bool ws_has_destructor(PerlInterpreter *perl, HV *class);
bool ws_is_destroyed(PerlInterpreter *perl, HV *handle);
bool ws_has_xsub(PerlInterpreter *perl, HV *object, const char *method, const struct ws_xsub *xsub);

/* state.c */
void ws_state_attach(PerlInterpreter *perl, SV *sv, struct ws_state state, SV *keeps);
struct ws_state ws_state(PerlInterpreter *perl, SV *sv);
void ws_watch_reads(PerlInterpreter *perl, SV *sv, struct ws_state state);
bool ws_has_watched_reads(SV *sv);
const void *ws_watcher(PerlInterpreter *perl, SV *sv);
HV *ws_orphaned_handle(PerlInterpreter *perl, SV *callback);
SV *ws_new_bound_sub(PerlInterpreter *perl, const struct ws_xsub *xsub, struct ws_state state);

/* calls.c */
void ws_boot(PerlInterpreter *perl, CV *cv);
CV *ws_new_dispatch_loop(PerlInterpreter *perl);
bool ws_wants_value(PerlInterpreter *perl);
SV *ws_located(PerlInterpreter *perl, const char *text, STRLEN len);

/* tail_call.c */
bool ws_is_tail_call(PerlInterpreter *perl, const void *stack);

/* system.c */
IO *ws_io(PerlInterpreter *perl, SV *fh);
int ws_fd(PerlInterpreter *perl, SV *fh);
SSize_t ws_read(int fd, void *start, STRLEN len);
SSize_t ws_write(int fd, const void *start, STRLEN len);
SSize_t ws_write_both(int fd, const void *first, STRLEN first_len, const void *second, STRLEN second_len);
void ws_addresses(int fd, char *out, STRLEN len[2]);
bool ws_prepare_stream(int fd);
void ws_shut_down(int fd);
SSize_t ws_peek(int fd);
void ws_hold_packets(int fd, bool holds);
void ws_file_addresses(PerlInterpreter *perl, SV *fh, const void *out[WS_FILE_ADDRESSES]);
void ws_prefetch(const void *state, STRLEN size, const void *start, const I32 distances[WS_FOOTPRINT]);

/* xsubs/exports.rs */
bool ws_rust_next_call(const void *connection, const void *stack, struct ws_call *call);
void ws_rust_dispatched(const void *connection, SV *exception, bool is_exiting, struct ws_after *after);
const void *ws_rust_connection(struct ws_state state);
void ws_rust_before_read(struct ws_state state);
SV *ws_rust_free(struct ws_state state);
extern const struct ws_xsub *const ws_rust_tables[];

#endif
