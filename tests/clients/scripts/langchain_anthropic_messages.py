"""langchain, by Anthropic's protocol."""

from langchain_anthropic import ChatAnthropic
from langchain_model import run
from verdicts import KEY, MODEL, ROOT

run(ChatAnthropic(model=MODEL, base_url=ROOT, api_key=KEY, max_retries=0))
