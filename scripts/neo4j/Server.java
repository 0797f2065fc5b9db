// SPDX-License-Identifier: Apache-2.0

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.neo4j.dbms.api.DatabaseManagementService;
import org.neo4j.dbms.api.DatabaseManagementServiceBuilder;
import org.neo4j.graphdb.GraphDatabaseService;
import org.neo4j.graphdb.QueryExecutionException;

/**
 * Neo4j Community on loopback, for trying weir out and for its tests: the kernel and a Bolt listener.
 *
 * <p>Arguments: the folder of its data, the file with the password of the user neo4j, the port (0: any
 * that is free), megabytes of page cache, and "stdin" if it shall end, at once, with its standard
 * input. Once it answers it prints "ready" and its address.
 */
public final class Server {
    public static void main(String[] args) throws Exception {
        Path home = Path.of(args[0]).toAbsolutePath();
        String password = Files.readString(Path.of(args[1])).strip();
        int port = Integer.parseInt(args[2]);
        if (port == 0) {
            port = freePort();
        }
        String address = "127.0.0.1:" + port;
        boolean endWithStdin = args.length > 4 && args[4].equals("stdin");
        if (endWithStdin) {
            endWithStdin();
        }
        Files.createDirectories(home);
        Path conf = home.resolve("neo4j.conf");
        Files.writeString(conf, String.join("\n",
                "server.bolt.enabled=true",
                "server.bolt.listen_address=" + address,
                "server.bolt.advertised_address=" + address,
                "server.bolt.tls_level=DISABLED",
                "server.http.enabled=false",
                "server.https.enabled=false",
                "dbms.security.auth_enabled=true",
                "dbms.security.auth_max_failed_attempts=0", // tests give wrong passwords
                "dbms.security.allow_csv_import_from_file_urls=false", // of any file of this machine
                "dbms.usage_report.enabled=false",
                "db.tx_log.preallocate=false", // otherwise an empty database takes 500 MB
                "db.tx_log.rotation.retention_policy=2 files",
                "server.memory.pagecache.size=" + args[3] + "m",
                ""));
        DatabaseManagementService dbms =
                new DatabaseManagementServiceBuilder(home).loadPropertiesFromFile(conf).build();
        if (!endWithStdin) {
            Runtime.getRuntime().addShutdownHook(new Thread(dbms::shutdown));
        }
        setPassword(dbms.database("system"), password);
        System.out.println("ready " + address);
        System.out.flush();
        Thread.currentThread().join();
    }

    private static int freePort() throws IOException {
        try (ServerSocket s = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return s.getLocalPort();
        }
    }

    /** Sets the password, which data that was used before has already: Neo4j refuses to set it again. */
    private static void setPassword(GraphDatabaseService system, String password) {
        try {
            system.executeTransactionally(
                    "ALTER USER neo4j SET PASSWORD $password CHANGE NOT REQUIRED", Map.of("password", password));
        } catch (QueryExecutionException e) {
            if (!String.valueOf(e.getMessage()).contains("cannot be the same")) {
                e.printStackTrace();
                System.exit(1); // Other threads would keep a server alive that never says that it is ready.
            }
        }
    }

    /**
     * Ends the server when standard input ends: whoever started it is gone, in whatever way, and nobody
     * wants its data. So it ends at once.
     */
    private static void endWithStdin() {
        Thread t = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {}
            } catch (IOException e) {
                // Gone as well.
            }
            Runtime.getRuntime().halt(0);
        });
        t.setDaemon(true);
        t.start();
    }

    private Server() {}
}
