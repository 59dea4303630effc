//! What `--help` and `--help_tls` print.

/// Every flag.
pub const USAGE: &str = "
Usage: nats-server [options]
       nats-server check-store DIR [-c FILE]   Read the streams below DIR and say what is there;
                                               FILE has the key if they are encrypted;
                                               with --repair put damaged ones in order

Server
    -a, --addr, --net HOST           Address to listen on (0.0.0.0)
    -p, --port PORT                  Port for clients (4222; -1 for any free one)
    -n, --name, --server_name NAME   Name shown to clients (the server's id)
    -P, --pid FILE                   Write the process id to FILE
    -m, --http_port PORT             Monitoring over HTTP on PORT
    -ms, --https_port PORT           Monitoring over HTTPS on PORT
    -c, --config FILE                Read FILE; flags win over it
    -t                               Check the configuration file and exit
    -sl, --signal COMMAND[=PID]      Signal a running server: ldm, stop, quit, term, reopen, reload;
                                     PID is a number or a pid file
        --client_advertise HOST:PORT Address told to clients instead of the one listened on
        --ports_file_dir DIR         Write the bound ports to DIR/<program>_<pid>.ports
        --shards N                   Serving threads (one for each CPU this process may use)
        --pin_shards                 Give each of them a CPU of its own

Log
    -l, --log FILE                   Log to FILE instead of standard error
    -T, --logtime                    Date and time in front of each line (on)
        --logtime_utc                In UTC instead of local time
    -s, --syslog                     Log to syslog
    -r, --remote_syslog ADDR         Log to the syslog at ADDR, such as udp://localhost:514
    -D, --debug                      Debug lines
    -V, --trace                      Every protocol operation
    -VV                              The same, system account included
    -DV                              Debug and trace
    -DVV                             Debug and trace, system account included
        --log_size_limit BYTES       Begin a new log file at this size
        --max_traced_msg_len BYTES   Bytes of a payload shown in trace lines (all)

Authorization
        --user NAME                  User that clients must give
        --pass PASSWORD              Password that clients must give
        --auth TOKEN                 Token that clients must give

JetStream
    -js, --jetstream                 Turn JetStream on
    -sd, --store_dir DIR             Folder of its files

TLS
        --tls                        Encrypt client connections
        --tlscert FILE               The server's certificate
        --tlskey FILE                The server's private key
        --tlsverify                  Ask clients for certificates
        --tlscacert FILE             CA that certificates are checked against

Cluster
        --routes URL,URL             Servers to connect to
        --cluster_listen, --cluster URL
                                     Address other servers connect to
        --cluster_name NAME          The cluster's name
        --no_advertise               Do not tell clients about the cluster
        --cluster_advertise ADDR     Address told to other servers
        --connect_retries N          Attempts at a server that was heard of

Profiling
        --profile PORT               Profiles over HTTP on PORT

    -h, --help                       Show this
    -v, --version                    Show the version
        --help_tls                   Show how to configure TLS
        --help-config                Show every key of the file, its default, whether it reloads

";

/// The `tls` block.
pub const TLS_USAGE: &str = "
The configuration file's tls block makes a listener speak TLS:

    tls {
        cert_file: \"server-cert.pem\"   # the server's certificate and chain
        key_file:  \"server-key.pem\"    # its private key
        ca_file:   \"ca.pem\"            # checks certificates of clients
        verify:    true                # clients must show one
        timeout:   2                   # seconds a handshake may take
    }

cipher_suites and curve_preferences are lists of names as Go's crypto/tls spells them;
min_version is \"1.2\" or \"1.3\".

";
