/** Configurations of the programs of others, each told what makes it fast. */

/** For nginx: a file is looked up once, and then found open. */
export const OPEN_FILE_CACHE = 'open_file_cache max=1000 inactive=600s; open_file_cache_valid 600s;';

/** One nginx worker in the foreground; `site` is the inside of its `http` block. */
export function nginxConfig(directory: string, site: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `${nginxHead(directory)}
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_timeout 3600s;
  keepalive_requests 1000000000;
  default_type application/octet-stream;
  ${temporary.map((kind) => `${kind}_temp_path ${directory}/${kind};`).join('\n  ')}
  ${site}
}
`;
}

/** What every configuration of nginx begins with. */
export function nginxHead(directory: string): string {
  return `daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
${process.getuid?.() === 0 ? 'user root;' : ''}
pid ${directory}/nginx.pid;
error_log stderr warn;
events { worker_connections 8192; }`;
}

/** One lighttpd process that never asks a client to leave. */
export function lighttpdConfig(documents: string, listen: { readonly address: string; readonly port: number }): string {
  return `server.document-root = "${documents}"
server.bind = "${listen.address}"
server.port = ${listen.port}
server.event-handler = "linux-sysepoll"
server.network-backend = "sendfile"
server.max-worker = 0
server.max-fds = 16384
server.max-connections = 8192
server.listen-backlog = 4096
server.max-keep-alive-requests = 1000000000
server.max-keep-alive-idle = 3600
server.stat-cache-engine = "simple"
mimetype.assign = ( "" => "application/octet-stream" )
`;
}

/** One thread of HAProxy that passes bytes on between sockets, in the kernel where it can. */
export function haproxyConfig(listen: string, backend: string): string {
  return `global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend clients
  bind ${listen} backlog 8192
  default_backend servers
backend servers
  server one ${backend}
`;
}

/** The same by nginx; its stream module is loaded where it is a file of its own. */
export function nginxStreamConfig(
  directory: string,
  module: string | undefined,
  listen: string,
  backend: string,
): string {
  return `${module === undefined ? '' : `load_module ${module};`}
${nginxHead(directory)}
stream {
  access_log off;
  server {
    listen ${listen} backlog=8192;
    proxy_pass ${backend};
    proxy_timeout 1h;
    tcp_nodelay on;
  }
}
`;
}
