/** A configuration to start from, for each proxy with a guard (docs/forward-auth.md). */
import { IDENTITY_FIELDS, OVERRIDES, type Override, type Proxy } from '@hallpass/guard/forward';

interface Front {
  /** Where the guard listens, such as http://127.0.0.1:9090. */
  readonly guard: string;
  /** Overrides that may reach the API. */
  readonly passed: readonly Override[];
}

/** The configuration of a proxy. */
export function proxyConfiguration(proxy: Proxy, front: Front): string {
  return PRINTERS[proxy](front);
}

/**
 * The fields that a proxy drops. The guard refuses them too. This is for requests that reach the API another way, and for
 * operators who let the guard pass more than they meant to.
 */
function droppedFields({ passed }: Front): readonly string[] {
  return OVERRIDES.filter((name) => name.startsWith('x-') && !passed.includes(name));
}

const PRINTERS: Readonly<Record<Proxy, (front: Front) => string>> = {
  nginx: forNginx,
  traefik: forTraefik,
  envoy: forEnvoy,
};

/** The statuses of refusals. nginx knows some by itself. */
const STATUSES = [400, 401, 403, 429, 503];

function forNginx(front: Front): string {
  const variables = IDENTITY_FIELDS.map(
    (field) => [field, `$${field.toLowerCase().slice(2).replaceAll('-', '_')}`] as const,
  );
  return `# In the http block: where the API is.
upstream api { server 127.0.0.1:8000; }

# For an API with WebSockets, take "# websocket: " away wherever it is. Other upgrades do not pass: by h2c a client could
# send requests to the API that nobody has looked at.
# websocket: map $http_upgrade $hallpass_upgrade { default ""; ~*^websocket$ websocket; }
# websocket: map $hallpass_upgrade $hallpass_connection { default upgrade; "" close; }

server {
  listen 80;
  # Many servers read X_Hallpass_Client, or X.Hallpass.Client, as X-Hallpass-Client: no such name passes.
  underscores_in_headers off;
  ignore_invalid_headers on;
  # The guard decides on the target as it came, so the API has to get that very one.
  merge_slashes off;

  location / {
    auth_request /_hallpass;
    auth_request_set $hallpass_status $upstream_http_x_hallpass_status;
    auth_request_set $hallpass_body $upstream_http_x_hallpass_body;
    auth_request_set $hallpass_challenge $upstream_http_x_hallpass_challenge;
    auth_request_set $hallpass_retry_after $upstream_http_retry_after;
    auth_request_set $hallpass_nonce $upstream_http_dpop_nonce;
${variables.map(([field, name]) => `    auth_request_set ${name} $upstream_http_${field.toLowerCase().replaceAll('-', '_')};`).join('\n')}
    error_page 401 403 = @hallpass_refused;
    # These overwrite what a client may have sent under the same names. An empty one is not sent at all.
${variables.map(([field, name]) => `    proxy_set_header ${field} ${name};`).join('\n')}
    # Frameworks read these in the place of the method and the path.
${droppedFields(front)
  .map((field) => `    proxy_set_header ${field} "";`)
  .join('\n')}
    # websocket: proxy_http_version 1.1;
    # websocket: proxy_set_header Upgrade $hallpass_upgrade;
    # websocket: proxy_set_header Connection $hallpass_connection;
    add_header DPoP-Nonce $hallpass_nonce always;
    # Without a path behind it: a target that nginx has tidied is another one than the guard has seen.
    proxy_pass http://api;
  }

  location = /_hallpass {
    internal;
    # In the place of what is set further out: an error page there could make a yes of a guard that is down.
    error_page 599 /;
    proxy_intercept_errors off;
    proxy_pass ${front.guard};
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
    proxy_set_header X-Original-Method $request_method;
    proxy_set_header X-Original-URI $request_uri;
    # Wrong API keys are counted by this address. Behind another proxy, set_real_ip_from makes it the client's.
    proxy_set_header X-Forwarded-For $remote_addr;
  }

  location @hallpass_refused {
    default_type application/json;
    # That of a 401 nginx passes on by itself.
    add_header WWW-Authenticate $hallpass_challenge always;
    add_header Retry-After $hallpass_retry_after always;
    add_header DPoP-Nonce $hallpass_nonce always;
    add_header Cache-Control no-store always;
${STATUSES.map((status) => `    if ($hallpass_status = ${status}) { return ${status} $hallpass_body; }`).join('\n')}
    return 403;
  }
}
`;
}

function forTraefik(front: Front): string {
  return `# Dynamic configuration: give the router of the API both middlewares, in this order.
http:
  middlewares:
    hallpass:
      forwardAuth:
        address: ${front.guard}
        # X-Forwarded-Method, -Uri and -For are Traefik's own, whatever a client sends.
        trustForwardHeader: false
        # Each is taken away first, so that none of a client's own gets through.
        authResponseHeaders:
${IDENTITY_FIELDS.map((field) => `          - ${field}`).join('\n')}
    hallpass-fields:
      headers:
        # Each is taken away. Frameworks read them in the place of the method and the path.
        customRequestHeaders:
${droppedFields(front)
  .map((field) => `          ${field}: ""`)
  .join('\n')}
          # By Connection a client could have its proxy take the identity off again; by an upgrade to h2c it could send the
          # API requests that nobody has looked at. For an API with WebSockets, if it does not take h2c, write
          # "Connection: Upgrade" and take the other line away.
          Connection: ""
          Upgrade: ""
`;
}

function forEnvoy(front: Front): string {
  const { hostname, port } = new URL(front.guard);
  // Brackets would be a list to YAML, and no address to Envoy.
  const address = hostname.replace(/^\[(.*)\]$/, '$1');
  return `# In http_filters, before the router; the guard is the cluster "hallpass".
- name: envoy.filters.http.ext_authz
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
    # A guard that does not answer is one that refuses.
    failure_mode_allow: false
    # A route that is chosen again after the check would be another one than was checked.
    clear_route_cache: false
    http_service:
      server_uri: { uri: "${front.guard}", cluster: hallpass, timeout: 10s }
      authorization_request:
        # X-Forwarded-For, and all others that begin with an x: the guard refuses those that override the method or the path.
        allowed_headers: { patterns: [{ exact: authorization }, { exact: dpop }, { prefix: x }] }
      authorization_response:
        allowed_upstream_headers:
          patterns:
${IDENTITY_FIELDS.map((field) => `            - exact: ${field.toLowerCase()}`).join('\n')}
        allowed_client_headers:
          patterns: [{ exact: www-authenticate }, { exact: retry-after }, { exact: dpop-nonce }, { exact: cache-control }, { exact: content-type }]
        allowed_client_headers_on_success:
          patterns: [{ exact: dpop-nonce }]

# In http_connection_manager: the API gets the target as it came.
#   normalize_path: false
#   merge_slashes: false
#   path_with_escaped_slashes_action: KEEP_UNCHANGED
#   # Envoy then puts the client's address last in X-Forwarded-For, by which wrong API keys are counted. Envoy may put its
#   # own behind it: name that one with --trust too.
#   use_remote_address: true
#   # CGI, WSGI and PHP read X_Hallpass_Client as X-Hallpass-Client.
#   common_http_protocol_options: { headers_with_underscores_action: DROP_HEADER }
#   # For an API with WebSockets. Without filters of its own, or the guard is not asked.
#   # upgrade_configs: [{ upgrade_type: websocket }]

# In the virtual host of the API: frameworks read these in the place of the method and the path.
#   request_headers_to_remove: [${droppedFields(front).join(', ')}]

# In clusters:
#   - name: hallpass
#     type: STATIC
#     load_assignment:
#       cluster_name: hallpass
#       endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: "${address}", port_value: ${port} } } } }] }]
`;
}
