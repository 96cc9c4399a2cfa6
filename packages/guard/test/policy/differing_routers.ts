/** Apps of every framework for one policy, as strict and as lax as they can be, that tell which handler ran on what. */
import { getRequestListener } from '@hono/node-server';
import { compilePolicy, type Guard, type Policy, type RouteAccess } from '@hallpass/guard';
import { protect as protectExpress } from '@hallpass/guard/express';
import { protect as protectFastify } from '@hallpass/guard/fastify';
import { protect as protectHono } from '@hallpass/guard/hono';
import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { fastify, type FastifyServerOptions } from 'fastify';
import { Hono } from 'hono';
import { after } from 'node:test';
import { listen } from '../adapters/listen.ts';

/**
 * Routes that overlap in many ways, literals before parameters from the left: the order that routers want which take the
 * first that fits. One scope opens them all, so that nothing but the route decides.
 */
const TABLE = {
  'GET /': '/all.read',
  'GET /accounts': '/all.read',
  'GET /accounts/mine': '/all.read',
  'GET /accounts/mine/{what}': '/all.read',
  'GET /accounts/{accountID}': '/all.read',
  'GET /accounts/{accountID}/transfers': '/all.read',
  'GET /accounts/{accountID}/transfers/{id}': '/all.read',
  'GET /accounts/{accountID}/{section}/latest': '/all.read',
  'GET /accounts/{accountID}/{section}/{item}/{part}': '/all.read',
  'GET /v1.0/~me/a-b_c': '/all.read',
  'GET /{tenant}': '/all.read',
  'GET /{tenant}/transfers/{id}': '/all.read',
  'POST /accounts/{accountID}/transfers': '/all.read',
  'DELETE /accounts/{accountID}': '/all.read',
} as const;
export const policy = compilePolicy(TABLE);
type Routes = typeof policy extends Policy<infer Route> ? Route : never;
// oxlint-disable-next-line no-unsafe-type-assertion -- the keys of a constant
export const ROUTES = Object.keys(TABLE) as readonly Routes[];

/** What the guard allowed, and what the framework made of the same request. */
export interface Run {
  readonly allowed: RouteAccess<Routes>;
  /** The route whose handler ran, and the values that the framework decoded for it. */
  readonly route: Routes;
  readonly params: Readonly<Record<string, unknown>>;
}

/** Hears of every handler that ran, and for which request: what that says in `X-Case`. */
export type Listener = (name: string, run: Run) => void;
/**
 * Starts an app behind a guard; gives its port. Its handlers are for all routes, not for their own as they should be, so
 * that a wrong choice of the router shows instead of being refused.
 */
export type App = (guard: Guard, told: Listener) => Promise<number>;

/** `GET /a/{b}` to its method and the path as frameworks write it. */
function patternOf(route: Routes): readonly [method: string, path: string] {
  const [method = '', path = ''] = route.split(' ');
  return [method, path.replaceAll(/\{(\w+)\}/g, ':$1')];
}

interface ExpressVariant {
  readonly caseSensitive?: boolean;
  readonly strict?: boolean;
  readonly routes?: readonly Routes[];
  readonly before?: RequestHandler;
}

/** Express; `before` runs before the guard. */
export function onExpress(variant: ExpressVariant = {}): App {
  return async (guard, told) => {
    const { check, route } = protectExpress(guard, policy);
    const app = express();
    app.set('case sensitive routing', variant.caseSensitive ?? false);
    app.set('strict routing', variant.strict ?? false);
    if (variant.before !== undefined) app.use(variant.before);
    app.use(check);
    for (const own of variant.routes ?? ROUTES) {
      const [method, path] = patternOf(own);
      const handler = route(ROUTES, (request, response, allowed) => {
        told(request.get('x-case') ?? '', { allowed, route: own, params: request.params });
        response.end();
      });
      if (method === 'GET') app.get(path, handler);
      if (method === 'POST') app.post(path, handler);
      if (method === 'DELETE') app.delete(path, handler);
    }
    return await listen(quietly(app));
  };
}

/** Express, with everything below `/accounts` in a router of its own. */
export function onMountedExpress(): App {
  return async (guard, told) => {
    const { check, route } = protectExpress(guard, policy);
    const inner = express.Router();
    const outer = express().use(check);
    outer.use('/accounts', inner);
    for (const own of ROUTES) {
      const [method, path] = patternOf(own);
      const handler = route(ROUTES, (request, response, allowed) => {
        told(request.get('x-case') ?? '', { allowed, route: own, params: request.params });
        response.end();
      });
      const [router, rest] = path.startsWith('/accounts')
        ? ([inner, path.slice('/accounts'.length) || '/'] as const)
        : ([outer, path] as const);
      if (method === 'GET') router.get(rest, handler);
      if (method === 'POST') router.post(rest, handler);
      if (method === 'DELETE') router.delete(rest, handler);
    }
    return await listen(quietly(outer));
  };
}

/** Express prints an error that nobody answers for. */
function quietly(app: express.Express): express.Express {
  return app.use((_error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    response.status(500).end();
  });
}

export function onFastify(routerOptions: NonNullable<FastifyServerOptions['routerOptions']> = {}): App {
  return async (guard, told) => {
    const { check, route } = protectFastify(guard, policy);
    const app = fastify({ routerOptions });
    app.addHook('onRequest', check);
    for (const own of ROUTES) {
      const [method, url] = patternOf(own);
      const handler = route(ROUTES, (request, _reply, allowed) => {
        const params: object = Object(request.params);
        told(String(request.headers['x-case']), { allowed, route: own, params: { ...params } });
        return '';
      });
      app.route({ method, url, handler });
    }
    await app.ready();
    after(() => app.close());
    return await listen((request, response) => app.routing(request, response));
  };
}

export function onHono(options: { readonly strict?: boolean } = {}): App {
  return async (guard, told) => {
    const { check, route } = protectHono(guard, policy);
    const app = new Hono(options);
    app.use(check);
    for (const own of ROUTES) {
      const [method, path] = patternOf(own);
      const handler = route(ROUTES, (c, allowed) => {
        told(c.req.header('x-case') ?? '', { allowed, route: own, params: c.req.param() });
        return c.body('');
      });
      app.on(method, path, handler);
    }
    app.onError((_error, c) => c.body(null, 500));
    const respond = getRequestListener(app.fetch);
    return await listen((request, response) => void respond(request, response));
  };
}
