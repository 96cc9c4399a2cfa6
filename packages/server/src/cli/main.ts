import { openSqliteStore } from '../store/sqlite.ts';
const s = await openSqliteStore({file:'/tmp/t/h/x.db'});
console.log(await s.readRevocations({limit:10, now:1}));
const t=Date.now();
const N=20000; let i=0;
await Promise.all(Array.from({length:64}, async()=>{ while(i<N){ const k=i++; await s.revoke([{kind:'token',id:'t'+String(k).padStart(9,'0')+Math.random(),expires_at:99999999999,keepUntil:99999999999}]); } }));
console.log(N/(Date.now()-t)*1000,'rev/s');
console.log((await s.readRevocations({limit:2, now:1})));
await s.close();
