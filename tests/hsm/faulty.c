/* A PKCS#11 library that passes calls on to another one, and fails on demand: the tests' HSM that
 * loses its sessions, crashes and hangs. FAULTY_LIBRARY is the other one. FAULTY_FILE has the
 * faults, a line each: a function, and what it is to do, which is to return a value (0x30), to hang or
 * to crash. "once:" before that takes the line away when it is met. Each login is a line in
 * FAULTY_FILE.logins. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long rv_t;
typedef unsigned long handle_t;

#define FUNCTIONS 68

struct list {
    unsigned char version[2];
    rv_t (*functions[FUNCTIONS])();
};

/* Places in CK_FUNCTION_LIST. */
enum { GET_SLOT_LIST = 4, OPEN_SESSION = 12, LOGIN = 18, FIND_INIT = 26, DECRYPT_INIT = 33, SIGN_INIT = 42, SIGN = 43,
       GENERATE_PAIR = 59 };

static struct list ours, *theirs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* What a function is to do now; an empty text for nothing. */
static void fault(const char *function, char *what, size_t room)
{
    what[0] = 0;
    const char *path = getenv("FAULTY_FILE");
    if (!path)
        return;
    pthread_mutex_lock(&lock);
    char kept[4096] = "", line[256], name[128], action[128], fresh[4096];
    int taken = 0;
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%127s %127s", name, action) == 2 && strcmp(name, function) == 0 && !what[0]) {
            int once = strncmp(action, "once:", 5) == 0;
            snprintf(what, room, "%s", once ? action + 5 : action);
            taken |= once;
            if (once)
                continue;
        }
        strncat(kept, line, sizeof kept - strlen(kept) - 1);
    }
    if (file)
        fclose(file);
    if (taken) {
        snprintf(fresh, sizeof fresh, "%s.new", path);
        file = fopen(fresh, "w");
        if (file) {
            fputs(kept, file);
            fclose(file);
            rename(fresh, path);
        }
    }
    pthread_mutex_unlock(&lock);
}

/* Whether the call is to fail, and with what. */
static int fails(const char *function, rv_t *value)
{
    char what[128];
    fault(function, what, sizeof what);
    if (strcmp(what, "crash") == 0)
        abort();
    if (strcmp(what, "hang") == 0)
        for (;;)
            pause();
    *value = strtoul(what, NULL, 0);
    return what[0] != 0;
}

#define PASS(NAME, PLACE, DECLARED, GIVEN)              \
    static rv_t NAME DECLARED                           \
    {                                                   \
        rv_t value;                                     \
        if (fails("C_" #NAME, &value))                  \
            return value;                               \
        return theirs->functions[PLACE] GIVEN;          \
    }

PASS(GetSlotList, GET_SLOT_LIST, (unsigned char present, void *list, void *count), (present, list, count))
PASS(OpenSession, OPEN_SESSION, (handle_t slot, handle_t flags, void *data, void *notify, handle_t *session),
     (slot, flags, data, notify, session))
PASS(FindObjectsInit, FIND_INIT, (handle_t session, void *template, unsigned long count), (session, template, count))
PASS(DecryptInit, DECRYPT_INIT, (handle_t session, void *mechanism, handle_t key), (session, mechanism, key))
PASS(SignInit, SIGN_INIT, (handle_t session, void *mechanism, handle_t key), (session, mechanism, key))
PASS(Sign, SIGN, (handle_t session, void *data, unsigned long length, void *signature, unsigned long *room),
     (session, data, length, signature, room))

static rv_t GenerateKeyPair(handle_t session, void *mechanism, void *public, unsigned long public_count, void *private,
                            unsigned long private_count, handle_t *public_key, handle_t *private_key)
{
    rv_t value;
    rv_t done = theirs->functions[GENERATE_PAIR](session, mechanism, public, public_count, private, private_count,
                                                 public_key, private_key);
    /* The pair is there, and the caller does not hear of it. */
    return fails("C_GenerateKeyPair", &value) ? value : done;
}

static rv_t Login(handle_t session, unsigned long user, void *pin, unsigned long length)
{
    rv_t value;
    char path[4096];
    snprintf(path, sizeof path, "%s.logins", getenv("FAULTY_FILE") ? getenv("FAULTY_FILE") : "/dev/null");
    FILE *file = fopen(path, "a");
    if (file) {
        fputs("login\n", file);
        fclose(file);
    }
    if (fails("C_Login", &value))
        return value;
    return theirs->functions[LOGIN](session, user, pin, length);
}

rv_t C_GetFunctionList(struct list **list)
{
    rv_t (*get)(struct list **);
    void *library = dlopen(getenv("FAULTY_LIBRARY"), RTLD_NOW);
    if (!library || !(get = (rv_t (*)(struct list **))dlsym(library, "C_GetFunctionList")))
        return 5;
    rv_t value = get(&theirs);
    if (value)
        return value;
    ours = *theirs;
    ours.functions[GET_SLOT_LIST] = GetSlotList;
    ours.functions[OPEN_SESSION] = OpenSession;
    ours.functions[LOGIN] = Login;
    ours.functions[FIND_INIT] = FindObjectsInit;
    ours.functions[DECRYPT_INIT] = DecryptInit;
    ours.functions[SIGN_INIT] = SignInit;
    ours.functions[SIGN] = Sign;
    ours.functions[GENERATE_PAIR] = GenerateKeyPair;
    *list = &ours;
    return 0;
}
