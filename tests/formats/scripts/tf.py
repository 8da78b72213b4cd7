import sys,gzip,json,collections,time
import guard
from guard.schemas.structural.compiled import CompiledFormat
from guard.schemas.compiled import Options
V=guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), b""], eos=[256])
tot=collections.Counter(); bad=[]; errs=collections.Counter()
opts=Options(key_order="schema",whitespace="any",spelling="any")
cache={}
t=time.time()
for l in gzip.open('/work/shared/data/structural-tags.jsonl.gz','rt'):
    o=json.loads(l); k=json.dumps(o['tag'])
    try:
        if k not in cache: cache[k]=CompiledFormat(o['tag'],opts)
        m=cache[k].matcher(V)
        a=m.accept_bytes(o['text'].encode()) and m.can_stop()
    except Exception as e:
        errs[f'{type(e).__name__}: {e}'[:90]]+=1; tot['error']+=1; continue
    kk='ok' if a==o['accepts'] else 'bad'
    tot[kk]+=1
    if kk=='bad': bad.append((a,o))
print(tot,time.time()-t); print(*errs.most_common(12),sep='\n')
for a,o in bad[:int(sys.argv[1]) if len(sys.argv)>1 else 6]: print(a,o['accepts'],json.dumps(o['tag']['format'],ensure_ascii=False)[:500],'=>',repr(o['text'])[:200]); print()
