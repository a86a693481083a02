/* endpoint: an instance as a person writes it: its address, then options after commas, such as
 * "10.0.0.5:8001,weight=3,pid=4711". */
#pragma once

#include "base/err.h"
#include "base/str.h"

#define ENDPOINT_WEIGHT_MAX 256

struct endpoint {
    struct str address; /* what stands before the first comma, not looked into */
    uint32_t weight;    /* its share of the requests, 1 to ENDPOINT_WEIGHT_MAX; 1 where none is written */
    int64_t pid;        /* of its process; 0: none is written */
};

/* Takes the text apart; the address points into it. The sentence is about one option: whoever calls knows how
 * the whole was written. */
bool endpoint_parse(struct str text, struct endpoint *endpoint, struct err *err) MUST_CHECK;

/* Is it a weight? False with a sentence. */
bool endpoint_weight(int64_t number, struct err *err) MUST_CHECK;
