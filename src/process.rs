//! Processes and sockets of this machine, read from `/proc`.
