/* records: what system programs do between their system calls, in the spirit of Dhrystone: records copied and linked,
 * short strings compared and assigned, enumerations and switches, array elements through parameters, and many
 * small procedures that are not inlined. */
#include "bench.h"
#include "expected.h"

#include <string.h>

enum { PASSES = 4000, NAME_BYTES = 32, TABLE = 50, ACCOUNTS = 8 };

enum kind { KIND_CASH, KIND_CREDIT, KIND_SAVINGS, KIND_CLOSED, KIND_COUNT };

struct account {
    struct account *next;
    enum kind kind;
    int32_t balance;
    uint32_t movements;
    char owner[NAME_BYTES];
};

static struct account accounts[ACCOUNTS];
static int32_t table[TABLE][TABLE];
static int32_t history[TABLE];

static const char *const owners[] = {
    "a customer of long standing, 1st",
    "a customer of long standing, 2nd",
    "a customer of no standing, 3rd.",
    "another customer altogether",
};

static BENCH_NOINLINE void account_open(struct account *account, enum kind kind, const char *owner, int32_t balance)
{
    account->kind = kind;
    account->balance = balance;
    account->movements = 0;
    strncpy(account->owner, owner, NAME_BYTES - 1);
    account->owner[NAME_BYTES - 1] = '\0';
}

static BENCH_NOINLINE void account_copy(struct account *to, const struct account *from)
{
    struct account *next = to->next;
    *to = *from;
    to->next = next;
}

static BENCH_NOINLINE enum kind kind_after(enum kind kind, bool overdrawn)
{
    switch (kind) {
    case KIND_CASH:
        return overdrawn ? KIND_CREDIT : KIND_SAVINGS;
    case KIND_CREDIT:
        return overdrawn ? KIND_CLOSED : KIND_CASH;
    case KIND_SAVINGS:
        return overdrawn ? KIND_CASH : KIND_SAVINGS;
    default:
        return KIND_CASH;
    }
}

static BENCH_NOINLINE bool same_owner(const struct account *a, const struct account *b)
{
    return strcmp(a->owner, b->owner) == 0;
}

static BENCH_NOINLINE int32_t interest(int32_t balance, int32_t percent)
{
    return balance / 100 * percent + balance % 100 * percent / 100;
}

static BENCH_NOINLINE void note(int32_t column[TABLE], int32_t row[TABLE], int32_t at, int32_t value)
{
    int32_t where = at % (TABLE - 3);
    column[where] = value;
    column[where + 1] = column[where] + row[where];
    row[where + 2] = where;
    for (int32_t i = where; i <= where + 1; i++)
        row[i] += column[i] & 0xFF;
}

static BENCH_NOINLINE char initial_after(const char *owner, int32_t at)
{
    char c = owner[at % 16];
    return c >= 'a' && c < 'z' ? (char)(c + 1) : 'a';
}

static BENCH_NOINLINE void account_move(struct account *account, int32_t amount)
{
    account->balance += amount;
    account->movements++;
    if (account->balance < 0)
        account->balance -= interest(account->balance, 12);
    else
        account->balance += interest(account->balance, 3);
    if (account->balance > 1000000 || account->balance < -1000000)
        account->balance = amount;
    account->kind = kind_after(account->kind, account->balance < 0);
}

static BENCH_NOINLINE void pass(int32_t number)
{
    struct account *account = &accounts[number % ACCOUNTS];
    account_move(account, number % 3 ? number : -2 * number);
    if (account->kind == KIND_CLOSED)
        account_open(account, KIND_CASH, owners[number % 4], number);
    else if (same_owner(account, account->next))
        account_copy(account->next, account);
    account->owner[number % 16] = initial_after(account->owner, number);
    note(history, table[number % TABLE], number, account->balance);
}

static void reset(void)
{
    memset(table, 0, sizeof(table));
    memset(history, 0, sizeof(history));
    for (int i = 0; i < ACCOUNTS; i++) {
        account_open(&accounts[i], (enum kind)(i % KIND_COUNT), owners[i % 2], 100 * i);
        accounts[i].next = &accounts[(i + 1) % ACCOUNTS];
    }
}

static uint64_t iterate(void)
{
    uint64_t sum = 0;
    reset();
    for (int32_t i = 0; i < PASSES; i++)
        pass(i);
    for (int i = 0; i < ACCOUNTS; i++) {
        sum = bench_fold(sum, (uint32_t)accounts[i].balance);
        sum = bench_fold(sum, accounts[i].movements * KIND_COUNT + accounts[i].kind);
        for (const char *c = accounts[i].owner; *c; c++)
            sum = bench_fold(sum, (uint8_t)*c);
    }
    for (int i = 0; i < TABLE; i++) {
        sum = bench_fold(sum, (uint32_t)history[i]);
        for (int j = 0; j < TABLE; j++)
            sum = bench_fold(sum, (uint32_t)table[i][j]);
    }
    return sum;
}

const struct bench_program bench_records = {
    .name = "records",
    .class = BENCH_INTEGER,
    .unit = "passes",
    .units_per_iteration = PASSES,
    .iterate = iterate,
    .expected = EXPECTED_RECORDS,
};
