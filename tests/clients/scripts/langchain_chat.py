"""langchain, by chat completions."""

from langchain_model import run
from langchain_openai import ChatOpenAI
from verdicts import KEY, MODEL, URL

run(ChatOpenAI(model=MODEL, base_url=URL, api_key=KEY, max_retries=0))
