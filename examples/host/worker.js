// A service of node: it answers as long as its event loop turns.
require("http").createServer((request, response) => response.end("ok\n")).listen(17083, "127.0.0.1");
