/* difference: what a deployment has that another one had not. Pure: two of the API's deployments in, as GET
 * /v1/deployments/D shows them, and what is to be told of them out. */
#pragma once

#include <jansson.h>

/* "difference" of a deployment to an earlier one:
 * {"deployment":"web-16","release":{"then":"v41","now":"v42"},
 * "instances":{"then":2,"now":3},"settings":[{"name":"watch","then":0.0,"now":60.0}...],"uptests":null or
 * {"then":{"count":3,"seconds":1.5},"now":...,"new":["04_mail"],"gone":[],"failing":[],
 *  "slower":[{"uptest":"02_login","then":0.4,"now":2.5}]}}.
 * Settings that are the same are left out. The seconds of an uptest are those on the instance where it took
 * longest, and those of a suite their sum, so that pools of other sizes can be compared. `failing` did pass
 * then; `slower` takes at least twice as long, and a second. uptests is null unless both have a gate. A new
 * reference. */
json_t *difference(const json_t *now, const json_t *then);
