/* The configurations of test_admission_model.c: one after the other, in whatever order, as an
 * operator would reload them. */
#ifndef USHER_TESTS_ADMISSION_MODEL_CONFS_H
#define USHER_TESTS_ADMISSION_MODEL_CONFS_H

static const char globals[] =
    "max_sessions_per_address = 5\nmax_sessions_per_user = 4\n"
    "max_sessions_per_user_address = 2\nmax_logins = 8\ndirectory_timeout = 3s\n"
    "penalty_delay = 4s\npenalty_refuse_address = 4\npenalty_refuse_user = 6\n"
    "penalty_decay = 2m\npenalty_exempt = {\"127.0.0.1\"}\n"
    "max_sessions = 20\nhold_timeout = 30s\nconnect_timeout = 5s\nuser_expire = 60s\n"
    "directory people { driver = static rules = { \"x disabled=yes\" } }\n";

/* Of the generations, in whatever order. */
enum { CONFS = 5 };

static const char *const conf_texts[CONFS] = {
    "listener own { address = \"*:1\" }\n"
    "listener shared { address = \"*:2\" pool = shared }\n"
    "listener tried { address = \"*:3\" pool = tried }\n"
    "pool own { queue_timeout = 10s\n"
    "  backend o1 { address = \"192.0.2.1:10143\" max_sessions = 4 max_connecting = 2 }\n"
    "  backend o2 { address = \"o2.test:10143\" } }\n"
    "pool shared { storage = shared queue_timeout = 20s return_rate = 2 slow_start = 5s\n"
    "  backend s1 { address = \"192.0.2.11:10143\" max_connecting = 1 }\n"
    "  backend s2 { address = \"s2.test:10143\" max_sessions = 3 }\n"
    "  backend s3 { address = \"192.0.2.13:10143\" login_rate = 1 }\n"
    "  backend s4 { address = \"192.0.2.14:10143\" backup = yes } }\n"
    "pool tried { place = try try_rate = 1 queue_timeout = 5s\n"
    "  backend y1 { address = \"192.0.2.21:10143\" max_connecting = 1 }\n"
    "  backend y2 { address = \"192.0.2.22:10143\" max_sessions = 2 }\n"
    "  backend y3 { address = \"192.0.2.23:10143\" login_rate = 2 weight = 0 } }\n",
    /* the same in another order */
    "listener tried { address = \"*:3\" pool = tried }\n"
    "listener shared { address = \"*:2\" pool = shared }\n"
    "listener own { address = \"*:1\" pool = own }\n"
    "pool tried { place = try try_rate = 1 queue_timeout = 5s\n"
    "  backend y3 { address = \"192.0.2.23:10143\" login_rate = 2 weight = 0 }\n"
    "  backend y2 { address = \"192.0.2.22:10143\" max_sessions = 2 }\n"
    "  backend y1 { address = \"192.0.2.21:10143\" max_connecting = 1 } }\n"
    "pool shared { storage = shared queue_timeout = 20s return_rate = 2 slow_start = 5s\n"
    "  backend s4 { address = \"192.0.2.14:10143\" backup = yes }\n"
    "  backend s3 { address = \"192.0.2.13:10143\" login_rate = 1 }\n"
    "  backend s2 { address = \"s2.test:10143\" max_sessions = 3 }\n"
    "  backend s1 { address = \"192.0.2.11:10143\" max_connecting = 1 } }\n"
    "pool own { queue_timeout = 10s\n"
    "  backend o2 { address = \"o2.test:10143\" }\n"
    "  backend o1 { address = \"192.0.2.1:10143\" max_sessions = 4 max_connecting = 2 } }\n",
    /* some backends are gone, s2 is another server */
    "listener own { address = \"*:1\" }\n"
    "listener shared { address = \"*:2\" pool = shared }\n"
    "listener tried { address = \"*:3\" pool = tried }\n"
    "pool own { queue_timeout = 10s\n"
    "  backend o1 { address = \"192.0.2.1:10143\" max_sessions = 4 max_connecting = 2 } }\n"
    "pool shared { storage = shared queue_timeout = 20s return_rate = 2 slow_start = 5s\n"
    "  backend s2 { address = \"192.0.2.98:10143\" max_sessions = 3 }\n"
    "  backend s3 { address = \"192.0.2.13:10143\" login_rate = 1 } }\n"
    "pool tried { place = try try_rate = 1 queue_timeout = 5s\n"
    "  backend y2 { address = \"192.0.2.22:10143\" max_sessions = 2 }\n"
    "  backend y3 { address = \"192.0.2.23:10143\" login_rate = 2 weight = 0 } }\n",
    /* s1 is in another pool, and y2 too */
    "listener shared { address = \"*:2\" pool = shared }\n"
    "listener tried { address = \"*:3\" pool = tried }\n"
    "listener own { address = \"*:1\" pool = own }\n"
    "pool shared { storage = shared queue_timeout = 20s return_rate = 2\n"
    "  backend s2 { address = \"s2.test:10143\" max_sessions = 3 }\n"
    "  backend y2 { address = \"192.0.2.22:10143\" max_sessions = 2 }\n"
    "  backend s4 { address = \"192.0.2.14:10143\" backup = yes } }\n"
    "pool tried { place = try try_rate = 1 queue_timeout = 5s\n"
    "  backend s1 { address = \"192.0.2.11:10143\" max_connecting = 1 }\n"
    "  backend y1 { address = \"192.0.2.21:10143\" max_connecting = 1 }\n"
    "  backend y3 { address = \"192.0.2.23:10143\" login_rate = 2 weight = 0 } }\n"
    "pool own { queue_timeout = 10s\n"
    "  backend o1 { address = \"192.0.2.1:10143\" max_sessions = 4 max_connecting = 2 }\n"
    "  backend o2 { address = \"o2.test:10143\" } }\n",
    /* two pools are gone, with their listeners */
    "listener shared { address = \"*:2\" }\n"
    "pool shared { storage = shared queue_timeout = 20s return_rate = 2 slow_start = 5s\n"
    "  backend s3 { address = \"192.0.2.13:10143\" login_rate = 1 }\n"
    "  backend s4 { address = \"192.0.2.14:10143\" } }\n"};

#endif
