/* llhttp: the oracle's parser, from the source that Debian's node-llhttp installs; nothing of it is in this
 * tree. */
#include <llhttp.c>
