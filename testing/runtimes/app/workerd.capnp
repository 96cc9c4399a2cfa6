using Workerd = import "/workerd/workerd.capnp";

# The control channel tells the ports that were free.
const config :Workerd.Config = (
  services = [
    (name = "durable", worker = .durable),
    (name = "plain", worker = .plain),
    (name = "internet", network = (allow = ["private"])),
  ],
  sockets = [
    (name = "durable", address = "127.0.0.1:0", http = (), service = "durable"),
    (name = "plain", address = "127.0.0.1:0", http = (), service = "plain"),
  ],
);

const durable :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed "worker.mjs")],
  bindings = [
    (name = "ISSUER", fromEnvironment = "ISSUER"),
    (name = "DURABLE", durableObjectNamespace = "DurableAPI"),
  ],
  durableObjectNamespaces = [(className = "DurableAPI", uniqueKey = "durable-api")],
  durableObjectStorage = (inMemory = void),
  compatibilityDate = "2026-01-01",
);

const plain :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed "worker.mjs")],
  bindings = [(name = "ISSUER", fromEnvironment = "ISSUER")],
  compatibilityDate = "2026-01-01",
);
